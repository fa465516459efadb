//! Every parser of ours is given its seeds and what chance makes of them.
//!
//! The chance is the same each time: what fails here fails again. `SIDEKEY_TEST_FUZZ=10000000` tries as many inputs for each
//! instead; libFuzzer, which looks for its way in, is in `fuzz/`.

use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use fastrand::Rng;

use super::fuzz::{TARGETS, Target};

macro_rules! targets {
    ($($name:ident)+) => {
        $(#[test] fn $name() { fuzz(stringify!($name)); })+
        const TESTED: &[&str] = &[$(stringify!($name)),+];
    };
}

targets! { answer config connection frames ftp_listing ftp_reply metadata openpgp pem pkcs12 query reuse sftp target token }

#[test]
fn every_target_is_fuzzed_here_and_by_libfuzzer_from_seeds_of_its_own() {
    let targets: BTreeSet<String> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    let stems = |folder: &str| -> BTreeSet<String> {
        let files = fs::read_dir(fuzz_folder().join(folder)).unwrap();
        files.map(|file| file.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned()).collect()
    };

    assert_eq!(TESTED.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>(), targets);
    assert_eq!(stems("fuzz_targets"), targets);
    assert_eq!(stems("seeds"), targets);
}

#[track_caller]
fn fuzz(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target");
    let seeds = seeds(name);
    assert!(!seeds.is_empty(), "fuzz/seeds/{name} has no seed");

    let mut taken = seeds.iter().filter(|seed| run(target, seed)).count();
    let mut random = Rng::with_seed(SEED);
    let rounds = rounds(target);
    taken += (0..rounds).filter(|_| run(target, &mutated(&seeds, target.words, &mut random))).count();

    // A promise about what is taken would be kept by who takes nothing.
    let of = seeds.len() + rounds as usize;
    assert!(taken > 0 && taken < of, "{name} takes {taken} of {of} inputs: seeds and words lead nowhere");
}

/// Whether the input was taken.
fn run(target: &Target, input: &[u8]) -> bool {
    let ran = catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    ran.unwrap_or_else(|_| panic!("{} breaks its promise given b\"{}\"", target.name, input.escape_ascii()))
}

fn rounds(target: &Target) -> u32 {
    let wanted = std::env::var("SIDEKEY_TEST_FUZZ").ok();
    wanted.map_or(target.rounds, |number| number.parse().expect("SIDEKEY_TEST_FUZZ is a number"))
}

/// A seed, or nothing, with up to eight changes.
fn mutated(seeds: &[Vec<u8>], words: &[&str], random: &mut Rng) -> Vec<u8> {
    let mut input = random.choice(seeds).filter(|_| random.u8(..16) > 0).cloned().unwrap_or_default();
    for _ in 0..=random.u8(..8) {
        change(&mut input, seeds, words, random);
    }
    input
}

fn change(input: &mut Vec<u8>, seeds: &[Vec<u8>], words: &[&str], random: &mut Rng) {
    let (at, other) = (random.usize(..=input.len()), random.usize(..=input.len()));
    let range = at.min(other)..at.max(other).min(at.min(other) + LONGEST_CHANGE);
    let new = match random.u8(..6) {
        0 => Vec::new(),
        1 => vec![random.u8(..)],
        2 => (0..random.u8(..16)).map(|_| random.u8(..)).collect(),
        3 => input[range.clone()].repeat(2),
        4 => {
            let seed = random.choice(seeds).expect("a seed");
            let from = random.usize(..=seed.len());
            seed[from..seed.len().min(from + LONGEST_CHANGE)].to_vec()
        }
        _ => random.choice(words).map(|word| word.as_bytes().to_vec()).unwrap_or_default(),
    };
    // Half of them take the place of something, half come in between.
    let replaced = if random.bool() { range } else { at..at };
    input.splice(replaced, new);
    input.truncate(LONGEST_INPUT);
}

fn seeds(name: &str) -> Vec<Vec<u8>> {
    let files = fs::read_dir(fuzz_folder().join("seeds").join(name)).expect("a folder of seeds");
    let mut paths: Vec<PathBuf> = files.map(|file| file.expect("a seed").path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).expect("a seed")).collect()
}

fn fuzz_folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

const SEED: u64 = 0x5eed;
const LONGEST_CHANGE: usize = 32;
const LONGEST_INPUT: usize = 4096;
