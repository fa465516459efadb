//! `certificates`: client certificates, named and linked from services.

use std::path::PathBuf;

use schemars::{Schema, SchemaGenerator};

use crate::config::diagnostic::{Report, Reported};
use crate::config::json_schema;
use crate::config::node::Node;
use crate::config::read::{FromNode, SectionFields, SectionReader};
use crate::config::section::section;
use crate::config::value::{At, Span};
use crate::secret::Secret;

/// An entry of `certificates`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateConfig {
    /// For people; by default the name.
    pub title: Option<String>,
    /// The files.
    pub material: WrittenMaterial,
    /// Of an encrypted key or a PKCS#12 file.
    pub passphrase: Option<At<Secret>>,
}

/// Where a certificate and its key are; paths are absolute or relative to the working directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WrittenMaterial {
    /// PEM files.
    Pem {
        /// The certificates, leaf first.
        chain: At<PathBuf>,
        /// The leaf's private key.
        key: At<PathBuf>,
    },
    /// Both in one PKCS#12 file.
    Pkcs12(At<PathBuf>),
}

section! {
    struct CertificateKeys {
        /// For people; by default the name.
        title: Option<String> = None,
        /// PEM file with the certificates, leaf first.
        chain: Option<At<PathBuf>> = None,
        /// PEM file with the leaf's private key: PKCS#8, encrypted PKCS#8, PKCS#1 or SEC1.
        key: Option<At<PathBuf>> = None,
        /// PKCS#12 file, instead of `chain` and `key`.
        pkcs12: Option<At<PathBuf>> = None,
        /// Of an encrypted key or a PKCS#12 file.
        passphrase: Option<At<Secret>> = None,
    }
}

impl FromNode for CertificateConfig {
    fn from_node(node: &Node, reader: &mut SectionReader<'_>) -> Result<Self, Reported> {
        let mut fields = SectionFields::open(node, reader.report)?;
        let keys = CertificateKeys::from_fields(&mut fields, reader);
        fields.close(reader.report);
        let keys = keys?;
        // A field that could not be read is there all the same, and has been reported.
        let written = |key: &str| node.entry(key).map(|entry| entry.key.span);
        if let (Some(pkcs12), Some(other)) = (written("pkcs12"), written("chain").or_else(|| written("key"))) {
            reader
                .report
                .error(pkcs12, "`pkcs12` stands instead of `chain` and `key`")
                .also(other, "written here too")
                .help("remove the one or the other");
            return Err(Reported);
        }
        let material = match (keys.pkcs12, keys.chain, keys.key) {
            (Some(pkcs12), _, _) => WrittenMaterial::Pkcs12(pkcs12),
            (None, Some(chain), Some(key)) => WrittenMaterial::Pem { chain, key },
            _ => return Err(report_incomplete(node.span, &written, reader.report)),
        };
        Ok(Self { title: keys.title, material, passphrase: keys.passphrase })
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema::object(CertificateKeys::properties(generator))
    }
}

fn report_incomplete(span: Span, written: &impl Fn(&str) -> Option<Span>, report: &mut Report) -> Reported {
    let missing = match (written("pkcs12"), written("chain"), written("key")) {
        (Some(_), ..) | (None, Some(_), Some(_)) => return Reported,
        (None, Some(_), None) => "`key` is missing",
        (None, None, Some(_)) => "`chain` is missing",
        (None, None, None) => "the certificate has no files",
    };
    report.error(span, missing).help("a certificate has `chain` and `key` (PEM files), or `pkcs12`");
    Reported
}
