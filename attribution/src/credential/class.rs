//! What a credential is and how long it lives.

use serde::{Deserialize, Serialize};

/// What a credential is, judged by its own shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A static key of an account or project.
    ApiKey,
    /// A key that manages the account itself.
    AdminKey,
    /// A token from an OAuth sign-in.
    OauthToken,
    /// A token that only gets other tokens.
    RefreshToken,
    /// A JSON Web Token.
    Jwt,
    /// The id of a long-lived AWS access key.
    AwsAccessKey,
    /// The id of a temporary AWS access key.
    AwsSessionKey,
    /// A token that a person made for programs.
    PersonalAccessToken,
    /// A token for one session.
    SessionToken,
    /// The public half of a key pair that signs requests.
    PublicKey,
    /// No known shape.
    Unknown,
}

/// How long a credential lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lifetime {
    /// Until someone revokes it.
    Static,
    /// It expires by itself, in hours at most.
    ShortLived,
    /// The shape is used for both.
    Either,
    /// It is used to get others.
    Refresh,
    /// Not known.
    Unknown,
}

/// How sure a shape is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Confidence {
    /// Only together with the host it is sent to.
    Low,
    /// Likely.
    Medium,
    /// On its own.
    #[default]
    High,
}

impl Kind {
    /// The name in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ApiKey => "api_key",
            Self::AdminKey => "admin_key",
            Self::OauthToken => "oauth_token",
            Self::RefreshToken => "refresh_token",
            Self::Jwt => "jwt",
            Self::AwsAccessKey => "aws_access_key",
            Self::AwsSessionKey => "aws_session_key",
            Self::PersonalAccessToken => "personal_access_token",
            Self::SessionToken => "session_token",
            Self::PublicKey => "public_key",
            Self::Unknown => "unknown",
        }
    }
}

impl Lifetime {
    /// The name in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Static => "static",
            Self::ShortLived => "short_lived",
            Self::Either => "either",
            Self::Refresh => "refresh",
            Self::Unknown => "unknown",
        }
    }
}
