//! Names of fields as services read them.
//!
//! CGI, and all that came after it, turns `-` into `_` in the names of fields; others do so with every byte that is no
//! letter or digit. So `X-Api-Key`, `X_Api_Key` and `X.Api.Key` are one field to many a service, and to us.

/// Whether two names mean one field: without case, and with every byte that is no letter or digit as one.
pub(crate) fn same_field(one: &str, other: &str) -> bool {
    one.len() == other.len() && one.bytes().map(folded).eq(other.bytes().map(folded))
}

/// The name as it is compared: lower case, with `-` for whatever is no letter or digit.
pub(crate) fn folded_name(name: &str) -> String {
    name.bytes().map(|byte| char::from(folded(byte))).collect()
}

fn folded(byte: u8) -> u8 {
    if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'-' }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_one_however_its_name_is_spelt() {
        for other in ["x-api-key", "X-Api-Key", "x_api_key", "X.Api.Key", "x~api!key"] {
            assert!(same_field("x-api-key", other), "{other}");
            assert_eq!(folded_name(other), "x-api-key");
        }
        for other in ["x-api-keys", "xapikey", "x--apikey", "x-api1key", "y-api-key"] {
            assert!(!same_field("x-api-key", other), "{other}");
        }
    }
}
