//! Encryption of connections to the database, by the modes of `libpq`.

use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_platform_verifier::Verifier;
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::StoreError;

/// How connections are encrypted.
pub(super) enum Encryption {
    Disable,
    /// Where the server can, without checking its certificate.
    Prefer,
    /// Without checking the server's certificate.
    Require,
    /// With a certificate of a known authority, for the server's name. The authorities are those
    /// in a PEM file, or the system's.
    Verify(Option<String>),
}

impl Encryption {
    /// Reads `sslmode` and `sslrootcert`. As in `libpq`, a file of authorities is used also where
    /// the mode is `require`.
    pub(super) fn parse(mode: &str, roots: Option<String>) -> Result<Self, StoreError> {
        match (mode, roots) {
            ("disable", _) => Ok(Self::Disable),
            ("allow" | "prefer", _) => Ok(Self::Prefer),
            ("require", None) => Ok(Self::Require),
            ("require" | "verify-ca" | "verify-full", roots) => Ok(Self::Verify(roots)),
            (other, _) => Err(StoreError::Invalid(format!(
                "sslmode '{other}' is unknown; it is disable, prefer, require or verify-full"
            ))),
        }
    }

    pub(super) fn mode(&self) -> SslMode {
        match self {
            Self::Disable => SslMode::Disable,
            Self::Prefer => SslMode::Prefer,
            Self::Require | Self::Verify(_) => SslMode::Require,
        }
    }

    /// Makes what encrypts connections.
    pub(super) fn connector(&self) -> Result<MakeRustlsConnect, StoreError> {
        let provider = Arc::new(ring::default_provider());
        let verifier: Arc<dyn ServerCertVerifier> = match self {
            Self::Disable | Self::Prefer | Self::Require => {
                Arc::new(Unverified(Arc::clone(&provider)))
            }
            Self::Verify(None) => Arc::new(Verifier::new(Arc::clone(&provider)).map_err(unusable)?),
            Self::Verify(Some(file)) => {
                let roots = Arc::new(read_roots(Path::new(file))?);
                WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider))
                    .build()
                    .map_err(unusable)?
            }
        };
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        Ok(MakeRustlsConnect::new(config))
    }
}

fn unusable(error: impl std::fmt::Display) -> StoreError {
    StoreError::Invalid(format!("connections to the database cannot be encrypted: {error}"))
}

fn read_roots(file: &Path) -> Result<RootCertStore, StoreError> {
    let unreadable = |error: &dyn std::fmt::Display| {
        let file = file.display();
        StoreError::Invalid(format!("sslrootcert {file} has no certificates to read: {error}"))
    };
    let certificates = CertificateDer::pem_file_iter(file).map_err(|error| unreadable(&error))?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        let certificate = certificate.map_err(|error| unreadable(&error))?;
        roots.add(certificate).map_err(|error| unreadable(&error))?;
    }
    Ok(roots)
}

/// Accepts any certificate: the connection is encrypted, and the other side is not known.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
