//! What the sanitiser looks for, and what it does with it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

macro_rules! types {
    ($($(#[$doc:meta])* $variant:ident = $name:literal;)*) => {
        /// A type of sensitive value. The order is that of precedence: where two readings of the same characters
        /// collide, the earlier type wins, because it is the more specific one.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[non_exhaustive]
        pub enum SensitiveType {
            $($(#[$doc])* #[serde(rename = $name)] $variant,)*
        }

        impl SensitiveType {
            /// Every type, in the order of precedence.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The name that JSON, the command line and tokens use.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

types! {
    /// A credential that the schema says is one (`identity.credential`).
    Credential = "CREDENTIAL";
    /// A private key in PEM or OpenSSH armour, whole or cut off.
    PrivateKey = "PRIVATE_KEY";
    /// A JSON Web Token (RFC 7519).
    Jwt = "JWT";
    /// Anthropic API key.
    AnthropicKey = "ANTHROPIC_KEY";
    /// OpenAI API key.
    OpenaiKey = "OPENAI_KEY";
    /// AWS access key id.
    AwsAccessKeyId = "AWS_ACCESS_KEY_ID";
    /// AWS secret access key.
    AwsSecretKey = "AWS_SECRET_KEY";
    /// GitHub token of any kind.
    GithubToken = "GITHUB_TOKEN";
    /// Watchkeeper's own API key or local token.
    WatchkeeperKey = "WATCHKEEPER_KEY";
    /// GitLab token of any kind.
    GitlabToken = "GITLAB_TOKEN";
    /// Slack token or webhook path.
    SlackToken = "SLACK_TOKEN";
    /// Stripe secret or restricted key, webhook secret.
    StripeKey = "STRIPE_KEY";
    /// Google API key, OAuth token or client secret.
    GoogleKey = "GOOGLE_KEY";
    /// Azure storage, service bus or shared access key.
    AzureKey = "AZURE_KEY";
    /// SendGrid API key.
    SendgridKey = "SENDGRID_KEY";
    /// Twilio API key.
    TwilioKey = "TWILIO_KEY";
    /// npm access token.
    NpmToken = "NPM_TOKEN";
    /// PyPI upload token.
    PypiToken = "PYPI_TOKEN";
    /// Hugging Face access token.
    HuggingFaceToken = "HUGGING_FACE_TOKEN";
    /// A key of another provider that marks its keys by a prefix.
    ApiKey = "API_KEY";
    /// What stands after the scheme of an `Authorization` header.
    Authorization = "AUTHORIZATION";
    /// The password in a URL.
    UrlPassword = "URL_PASSWORD";
    /// The value of something named a password.
    Password = "PASSWORD";
    /// The value of something named a secret, key or token.
    Secret = "SECRET";
    /// E-mail address.
    Email = "EMAIL";
    /// International bank account number (ISO 13616).
    Iban = "IBAN";
    /// Payment card number.
    CreditCard = "CREDIT_CARD";
    /// US social security number.
    UsSsn = "US_SSN";
    /// IPv4 or IPv6 address.
    IpAddress = "IP_ADDRESS";
    /// Telephone number.
    Phone = "PHONE";
    /// Card verification value. Never kept in any form (PCI DSS 3.3.1).
    Cvv = "CVV";
}

/// What was done with a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Action {
    /// Removed; nothing of it is kept, not even a keyed hash.
    Drop,
    /// Replaced by what may be shown of it: its class, and of numbers the last four characters. Not joinable by its value.
    Mask,
    /// Replaced by a keyed token: equal values have equal tokens.
    Token,
    /// As [`Action::Token`], and the value is sealed beside it, for two people to open together.
    Encrypt,
    /// Left as it is, and not counted.
    Keep,
}

impl Action {
    /// The name that JSON and the command line use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Drop => "drop",
            Self::Mask => "mask",
            Self::Token => "token",
            Self::Encrypt => "encrypt",
            Self::Keep => "keep",
        }
    }
}

impl SensitiveType {
    /// Whether it is something that opens a door, as against something that tells of a person.
    #[must_use]
    pub const fn is_secret(self) -> bool {
        (self as u8) <= (Self::Secret as u8)
    }

    /// What is done with values of the type unless a policy says otherwise.
    #[must_use]
    pub const fn action(self) -> Action {
        match self {
            Self::Cvv => Action::Drop,
            _ => Action::Token,
        }
    }

    /// The type of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == name)
    }
}

impl std::fmt::Display for SensitiveType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_one_to_one_and_are_those_of_json() {
        for kind in SensitiveType::ALL {
            assert_eq!(SensitiveType::from_name(kind.as_str()), Some(*kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
    }

    #[test]
    fn secrets_come_before_personal_data() {
        let first_personal = SensitiveType::ALL.iter().position(|kind| !kind.is_secret()).unwrap();
        assert!(SensitiveType::ALL[first_personal..].iter().all(|kind| !kind.is_secret()));
        assert_eq!(SensitiveType::ALL[first_personal], SensitiveType::Email);
    }
}
