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
    /// The hash of a password, as systems keep it (crypt, bcrypt, Argon2, scrypt).
    PasswordHash = "PASSWORD_HASH";
    /// The value of a cookie.
    SessionCookie = "SESSION_COOKIE";
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
    /// US individual taxpayer identification number.
    UsItin = "US_ITIN";
    /// US Medicare beneficiary identifier.
    UsMbi = "US_MBI";
    /// US national provider identifier.
    UsNpi = "US_NPI";
    /// US DEA number of a prescriber.
    MedicalLicense = "MEDICAL_LICENSE";
    /// US employer identification number.
    UsEin = "US_EIN";
    /// US passport number.
    UsPassport = "US_PASSPORT";
    /// US driver licence number.
    UsDriverLicense = "US_DRIVER_LICENSE";
    /// NHS number of England, Wales and the Isle of Man.
    UkNhs = "UK_NHS";
    /// British national insurance number.
    UkNino = "UK_NINO";
    /// British unique taxpayer reference.
    UkUtr = "UK_UTR";
    /// Canadian social insurance number.
    CaSin = "CA_SIN";
    /// German tax identification number.
    DeTaxId = "DE_TAX_ID";
    /// German identity card or passport number.
    DeIdCard = "DE_ID_CARD";
    /// German pension insurance number.
    DeSocialSecurity = "DE_SOCIAL_SECURITY";
    /// French social security number.
    FrNir = "FR_NIR";
    /// French company or establishment number (SIREN, SIRET).
    FrSiret = "FR_SIRET";
    /// Italian fiscal code.
    ItFiscalCode = "IT_FISCAL_CODE";
    /// Spanish tax number of a person or a company.
    EsNif = "ES_NIF";
    /// Spanish identity number of a foreigner.
    EsNie = "ES_NIE";
    /// Portuguese tax number.
    PtNif = "PT_NIF";
    /// Dutch citizen service number.
    NlBsn = "NL_BSN";
    /// Belgian national register number.
    BeNationalNumber = "BE_NATIONAL_NUMBER";
    /// Polish personal number.
    PlPesel = "PL_PESEL";
    /// Polish tax number.
    PlNip = "PL_NIP";
    /// Swedish personal number.
    SePersonnummer = "SE_PERSONNUMMER";
    /// Finnish personal identity code.
    FiPersonalIdentityCode = "FI_PERSONAL_IDENTITY_CODE";
    /// Danish personal number.
    DkCpr = "DK_CPR";
    /// Norwegian personal number.
    NoFodselsnummer = "NO_FODSELSNUMMER";
    /// Swiss social insurance number.
    ChAhv = "CH_AHV";
    /// Austrian social insurance number.
    AtSvnr = "AT_SVNR";
    /// Irish personal public service number.
    IePps = "IE_PPS";
    /// Czech or Slovak birth number.
    CzBirthNumber = "CZ_BIRTH_NUMBER";
    /// Romanian personal number.
    RoCnp = "RO_CNP";
    /// Bulgarian personal number.
    BgEgn = "BG_EGN";
    /// Turkish identity number.
    TrTckn = "TR_TCKN";
    /// Russian tax number.
    RuInn = "RU_INN";
    /// Russian pension insurance number.
    RuSnils = "RU_SNILS";
    /// Ukrainian tax number.
    UaRnokpp = "UA_RNOKPP";
    /// European VAT number.
    EuVat = "EU_VAT";
    /// Indian Aadhaar number.
    InAadhaar = "IN_AADHAAR";
    /// Indian permanent account number.
    InPan = "IN_PAN";
    /// Indian goods and services tax number.
    InGstin = "IN_GSTIN";
    /// Chinese resident identity number.
    CnResidentId = "CN_RESIDENT_ID";
    /// Taiwanese identity number.
    TwNationalId = "TW_NATIONAL_ID";
    /// Hong Kong identity card number.
    HkId = "HK_ID";
    /// Japanese individual number.
    JpMyNumber = "JP_MY_NUMBER";
    /// Korean resident registration number.
    KrRrn = "KR_RRN";
    /// Singaporean identity number.
    SgNricFin = "SG_NRIC_FIN";
    /// Thai identity number.
    ThTnin = "TH_TNIN";
    /// Australian tax file number.
    AuTfn = "AU_TFN";
    /// Australian business number.
    AuAbn = "AU_ABN";
    /// Australian company number.
    AuAcn = "AU_ACN";
    /// Australian Medicare number.
    AuMedicare = "AU_MEDICARE";
    /// New Zealand tax number.
    NzIrd = "NZ_IRD";
    /// Brazilian tax number of a person.
    BrCpf = "BR_CPF";
    /// Brazilian tax number of a company.
    BrCnpj = "BR_CNPJ";
    /// Mexican population register code.
    MxCurp = "MX_CURP";
    /// Mexican tax number.
    MxRfc = "MX_RFC";
    /// Argentine tax number.
    ArCuit = "AR_CUIT";
    /// Chilean tax number.
    ClRut = "CL_RUT";
    /// South African identity number.
    ZaId = "ZA_ID";
    /// Israeli identity number.
    IlId = "IL_ID";
    /// Passport number, or the machine-readable zone of a passport.
    Passport = "PASSPORT";
    /// Driver licence number.
    DriverLicense = "DRIVER_LICENSE";
    /// Identity number of a country that has no type of its own.
    NationalId = "NATIONAL_ID";
    /// US bank routing number.
    AbaRouting = "ABA_ROUTING_NUMBER";
    /// Business identifier code of a bank (ISO 9362).
    SwiftCode = "SWIFT_CODE";
    /// Number of a bank account, with a sort code where there is one.
    BankAccount = "BANK_ACCOUNT";
    /// Expiry date of a payment card.
    CardExpiry = "CARD_EXPIRY";
    /// Number of a patient's record.
    MedicalRecordNumber = "MEDICAL_RECORD_NUMBER";
    /// Number of a health insurance's member.
    HealthInsuranceId = "HEALTH_INSURANCE_ID";
    /// Diagnosis code (ICD-10).
    Icd10Code = "ICD10_CODE";
    /// Identity of a mobile device.
    Imei = "IMEI";
    /// Vehicle identification number (ISO 3779).
    Vin = "VIN";
    /// Licence plate of a vehicle.
    LicensePlate = "LICENSE_PLATE";
    /// Geographic position.
    GpsCoordinates = "GPS_COORDINATES";
    /// Date of birth.
    DateOfBirth = "DATE_OF_BIRTH";
    /// Postal address.
    PostalAddress = "POSTAL_ADDRESS";
    /// Address of a crypto currency's wallet.
    Crypto = "CRYPTO";
    /// Hardware address of a network interface.
    MacAddress = "MAC_ADDRESS";
    /// IPv4 or IPv6 address.
    IpAddress = "IP_ADDRESS";
    /// Telephone number.
    Phone = "PHONE";
    /// Name of a person.
    Person = "PERSON";
    /// Card verification value. Never kept in any form (PCI DSS 3.3.1).
    Cvv = "CVV";
}

/// What a type tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Category {
    /// What opens a door: keys, tokens, passwords.
    Secret,
    /// How a person is reached, and who it is: addresses, telephone numbers, names, date of birth.
    Contact,
    /// Numbers that states give to persons and companies.
    NationalId,
    /// Accounts, cards, wallets.
    Financial,
    /// Patients, prescribers, insurances, diagnoses.
    Health,
    /// Devices, vehicles and their places in networks and on earth.
    Device,
}

/// What was done with a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Action {
    /// Removed; nothing of it is kept, not even a keyed hash.
    Drop,
    /// Replaced by a keyed token: equal values have equal tokens.
    Token,
}

impl Action {
    /// The name that JSON and the command line use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Drop => "drop",
            Self::Token => "token",
        }
    }
}

impl SensitiveType {
    /// Whether it is something that opens a door, as against something that tells of a person.
    #[must_use]
    pub const fn is_secret(self) -> bool {
        (self as u8) <= (Self::Secret as u8)
    }

    /// What the type tells of.
    #[must_use]
    pub const fn category(self) -> Category {
        match self {
            _ if self.is_secret() => Category::Secret,
            Self::Email | Self::Phone | Self::DateOfBirth | Self::PostalAddress | Self::Person => Category::Contact,
            Self::Iban
            | Self::CreditCard
            | Self::Crypto
            | Self::AbaRouting
            | Self::SwiftCode
            | Self::BankAccount
            | Self::CardExpiry
            | Self::Cvv => Category::Financial,
            Self::UsMbi
            | Self::UsNpi
            | Self::MedicalLicense
            | Self::UkNhs
            | Self::AuMedicare
            | Self::MedicalRecordNumber
            | Self::HealthInsuranceId
            | Self::Icd10Code => Category::Health,
            Self::Imei | Self::Vin | Self::LicensePlate | Self::MacAddress | Self::IpAddress | Self::GpsCoordinates => {
                Category::Device
            }
            _ => Category::NationalId,
        }
    }

    /// What is done with values of the type.
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
