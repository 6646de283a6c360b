//! Credentials on the wire: fingerprints of secrets, never the secrets.
