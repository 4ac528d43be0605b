//! Signatures of signed schema 1 manifests: JSON web signatures (RFC 7515) over a payload in the
//! same document.
//!
//! The protected header of each signature states how many bytes of the document start the payload,
//! and the bytes that end it. The document contains the key that verifies a signature: a valid
//! signature proves that the document is intact, not who made it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RsaPublicKeyComponents,
    UnparsedPublicKey,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::json::below;
use super::object_fields::{ObjectFields, array};
use super::refusal::{ManifestRule, Refusal};

/// The key of the signatures.
pub(super) const SIGNATURES: &str = "signatures";
/// Most signatures of one document: more than occur, and few enough to verify at once.
const SIGNATURES_MAX: usize = 16;

/// The payload of a signed document, and its signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct VerifiedPayload {
    /// The document before it was signed.
    pub(super) payload: Vec<u8>,
    /// Each signature as distribution up to 2.4 stored it, a blob of its own.
    pub(super) signatures: Vec<Vec<u8>>,
}

/// A signature. Its fields are in the order in which distribution writes them.
#[derive(Debug, Serialize, Deserialize)]
struct Signature {
    header: JwsHeader,
    #[serde(rename = "signature")]
    value: String,
    protected: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct JwsHeader {
    #[serde(skip_serializing_if = "Option::is_none")]
    jwk: Option<Value>,
    alg: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    x5c: Option<Value>,
}

/// The header that is covered by the signature.
#[derive(Debug, Deserialize)]
struct ProtectedHeader {
    #[serde(rename = "formatLength")]
    format_length: usize,
    #[serde(rename = "formatTail")]
    format_tail: String,
}

/// What is wrong with a signature, for messages.
struct SignatureError(String);

fn signature_error(text: impl Into<String>) -> SignatureError {
    SignatureError(text.into())
}

/// Verifies every signature of a document.
pub(super) fn verify(
    document: &ObjectFields<'_>,
    bytes: &[u8],
) -> Result<VerifiedPayload, Refusal> {
    let pointer = below("", SIGNATURES);
    let expected = "an array of signatures";
    let values = document.get(SIGNATURES).map(|value| array(value, expected));
    let Some(Ok(values)) = values else {
        return Err(Refusal::missing(&pointer, expected));
    };
    let count = values.elements().count();
    let refused = |place: &str, SignatureError(value): SignatureError| {
        let expected = "a signature (RFC 7515) that verifies with the key in its header";
        Refusal::new(ManifestRule::BadSignature, place, value, expected)
    };
    if !(1..=SIGNATURES_MAX).contains(&count) {
        return Err(refused(
            &pointer,
            signature_error(format!("an array of length {count}")),
        ));
    }
    let signatures = read(bytes).map_err(|why| refused(&pointer, why))?;
    let mut payload = None;
    for (at, signature) in signatures.iter().enumerate() {
        let place = format!("{pointer}/{at}");
        let signed = check(signature, bytes).map_err(|why| refused(&place, why))?;
        if payload.as_ref().is_some_and(|payload| *payload != signed) {
            return Err(refused(
                &place,
                signature_error("a signature of another payload than the first"),
            ));
        }
        payload = Some(signed);
    }
    let signatures = signatures.iter().map(serde_json::to_vec);
    Ok(VerifiedPayload {
        payload: payload.unwrap_or_default(),
        signatures: signatures
            .collect::<Result<_, _>>()
            .map_err(|error| refused(&pointer, signature_error(error.to_string())))?,
    })
}

/// The signatures of a document.
fn read(bytes: &[u8]) -> Result<Vec<Signature>, SignatureError> {
    #[derive(Deserialize)]
    struct SignedDocument {
        signatures: Vec<Signature>,
    }
    let document: SignedDocument = serde_json::from_slice(bytes)
        .map_err(|error| signature_error(format!("malformed: {error}")))?;
    Ok(document.signatures)
}

fn decode(what: &str, text: &str) -> Result<Vec<u8>, SignatureError> {
    URL_SAFE_NO_PAD
        .decode(text.trim_end_matches('='))
        .map_err(|error| {
            signature_error(format!(
                "a signature whose {what} is not base64url: {error}"
            ))
        })
}

/// Verifies a signature and returns its payload.
fn check(signature: &Signature, bytes: &[u8]) -> Result<Vec<u8>, SignatureError> {
    let protected = protected(signature)?;
    let mut payload = bytes
        .get(..protected.format_length)
        .ok_or_else(|| signature_error("a signature of a payload longer than the document"))?
        .to_vec();
    payload.extend(decode("formatTail", &protected.format_tail)?);
    let input = format!(
        "{}.{}",
        signature.protected,
        URL_SAFE_NO_PAD.encode(&payload)
    );
    let bytes = decode("signature", &signature.value)?;
    if verifies(&signature.header, input.as_bytes(), &bytes)? {
        Ok(payload)
    } else {
        Err(signature_error("a signature that does not verify"))
    }
}

fn protected(signature: &Signature) -> Result<ProtectedHeader, SignatureError> {
    let header = decode("protected header", &signature.protected)?;
    serde_json::from_slice(&header).map_err(|error| {
        signature_error(format!(
            "a signature with a malformed protected header: {error}"
        ))
    })
}

/// Returns `true` if a signature verifies.
fn verifies(header: &JwsHeader, input: &[u8], signature: &[u8]) -> Result<bool, SignatureError> {
    let jwk = header.jwk.as_ref().ok_or_else(|| {
        signature_error("a signature without a key (jwk); certificate chains are not supported")
    })?;
    let field = |name: &str| jwk.get(name).and_then(Value::as_str).unwrap_or_default();
    let number = |name: &str| decode(name, field(name));
    let rsa = match (field("kty"), &*header.alg) {
        ("EC", alg) => {
            let (algorithm, curve, len) = match alg {
                "ES256" => (&ECDSA_P256_SHA256_FIXED, "P-256", 32),
                "ES384" => (&ECDSA_P384_SHA384_FIXED, "P-384", 48),
                other => return Err(unsupported(other)),
            };
            if field("crv") != curve {
                return Err(unsupported(field("crv")));
            }
            let point = [
                vec![4],
                padded(number("x")?, len),
                padded(number("y")?, len),
            ];
            let key = UnparsedPublicKey::new(algorithm, point.concat());
            return Ok(key.verify(input, signature).is_ok());
        }
        ("RSA", "RS256") => &RSA_PKCS1_2048_8192_SHA256,
        ("RSA", "RS384") => &RSA_PKCS1_2048_8192_SHA384,
        ("RSA", "RS512") => &RSA_PKCS1_2048_8192_SHA512,
        (_, other) => return Err(unsupported(other)),
    };
    let trimmed =
        |number: Vec<u8>| -> Vec<u8> { number.into_iter().skip_while(|byte| *byte == 0).collect() };
    let key = RsaPublicKeyComponents {
        n: trimmed(number("n")?),
        e: trimmed(number("e")?),
    };
    Ok(key.verify(rsa, input, signature).is_ok())
}

fn unsupported(algorithm: &str) -> SignatureError {
    signature_error(format!(
        "a signature by {algorithm:?}; supported are ES256, ES384, RS256, RS384 and RS512"
    ))
}

/// Pads a coordinate with the zeros that some writers omit.
fn padded(number: Vec<u8>, len: usize) -> Vec<u8> {
    let mut padded = vec![0; len.saturating_sub(number.len())];
    padded.extend(number);
    padded
}

/// Reassembles a signed document from its payload and signatures; `None` if they do not fit.
pub(super) fn assemble(payload: &[u8], signatures: &[Vec<u8>]) -> Option<Vec<u8>> {
    let signatures: Vec<Signature> = signatures
        .iter()
        .map(|bytes| serde_json::from_slice(bytes).ok())
        .collect::<Option<_>>()?;
    let format_length = protected(signatures.first()?).ok()?.format_length;
    let mut document = payload.get(..format_length)?.to_vec();
    document.extend(format!(",\n   \"{SIGNATURES}\": ").bytes());
    document.extend(serde_json::to_vec(&signatures).ok()?);
    document.extend(b"\n}");
    Some(document)
}
