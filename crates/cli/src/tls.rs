//! TLS set-up for the process, and readable errors for certificates that are not trusted.

use std::error::Error;

use rustls::CertificateError as Bad;

/// Installs the process's TLS implementation. Does nothing if one is installed already.
pub(crate) fn install_tls() {
    drop(rustls::crypto::ring::default_provider().install_default());
}

/// Explains a TLS failure with the server at `base`; `None` if the error has another cause.
pub(crate) fn trouble(base: &str, error: &(dyn Error + 'static)) -> Option<anyhow::Error> {
    let error = find(error)?;
    let rustls::Error::InvalidCertificate(bad) = error else {
        return Some(anyhow::anyhow!(
            "TLS with {base} failed: {error}; if the server does not use TLS, begin its address \
            with http://"
        ));
    };
    let (what, mend) = if matches!(bad, Bad::Expired | Bad::ExpiredContext { .. }) {
        ("it has expired".to_owned(), "renew it, or set this machine's clock")
    } else if matches!(bad, Bad::NotValidYet | Bad::NotValidYetContext { .. }) {
        ("it is not valid yet".to_owned(), "set this machine's clock")
    } else if matches!(bad, Bad::NotValidForName | Bad::NotValidForNameContext { .. }) {
        ("it is for another name".to_owned(), "use the name that the certificate is for")
    } else if matches!(bad, Bad::UnknownIssuer | Bad::BadSignature) {
        (
            "this machine does not know the authority that signed it".to_owned(),
            "add the authority to the system's, or name its PEM file in SSL_CERT_FILE",
        )
    } else {
        (bad.to_string(), "have the server's owner look at it")
    };
    Some(anyhow::anyhow!("the certificate of {base} is not trusted: {what}; {mend}"))
}

/// Finds the TLS error among an error's causes.
fn find<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<rustls::Error>() {
            return Some(found);
        }
        // `source` of an I/O error skips the error that it wraps.
        let carried = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if let Some(carried) = carried {
            let carried: &(dyn Error + 'static) = carried;
            if let Some(found) = find(carried) {
                return Some(found);
            }
        }
        next = error.source();
    }
    None
}
