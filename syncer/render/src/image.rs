//! Names of container images, taken apart and put together again.

use std::fmt;

/// `registry/repository:tag@digest`, of which only the repository is always there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Image {
    pub(crate) registry: Option<String>,
    pub(crate) repository: String,
    pub(crate) tag: Option<String>,
    pub(crate) digest: Option<String>,
}

impl Image {
    pub(crate) fn parse(text: &str) -> Self {
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.to_owned())),
            None => (text, None),
        };
        // A first part names a registry only if it could be a host: a dot, a port, or `localhost`.
        let (registry, path) = match rest.split_once('/') {
            Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => {
                (Some(host.to_owned()), path)
            }
            _ => (None, rest),
        };
        let (repository, tag) = match path.rsplit_once(':') {
            Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag.to_owned())),
            _ => (path, None),
        };
        Self { registry, repository: repository.to_owned(), tag, digest }
    }

    /// A tag or a digest (`sha256:…`); either replaces what was there of both.
    pub(crate) fn set_version(&mut self, version: &str) {
        if version.contains(':') {
            (self.tag, self.digest) = (None, Some(version.to_owned()));
        } else {
            (self.tag, self.digest) = (Some(version.to_owned()), None);
        }
    }
}

impl fmt::Display for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(registry) = self.registry.as_deref().filter(|it| !it.is_empty()) {
            write!(f, "{registry}/")?;
        }
        f.write_str(&self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_image_is_taken_apart() {
        let check = |text: &str, registry: Option<&str>, repository: &str, tag: Option<&str>| {
            let image = Image::parse(text);
            let found =
                (image.registry.as_deref(), image.repository.as_str(), image.tag.as_deref());
            assert_eq!(found, (registry, repository, tag), "{text}");
        };
        check("nginx", None, "nginx", None);
        check("nginx:1.27", None, "nginx", Some("1.27"));
        check("library/nginx:1", None, "library/nginx", Some("1"));
        check("registry.example/shop/web:2", Some("registry.example"), "shop/web", Some("2"));
        check("localhost:5000/web", Some("localhost:5000"), "web", None);
        check("r.example:443/a/b@sha256:ff", Some("r.example:443"), "a/b", None);
    }

    proptest! {
        #[test]
        fn it_is_put_together_as_it_was(
            text in "((localhost|r\\.example)(:[0-9]{1,4})?/)?[a-z]{1,5}(/[a-z]{1,5})?(:[a-z0-9.]{1,5})?(@sha256:[0-9a-f]{4})?"
        ) {
            prop_assert_eq!(Image::parse(&text).to_string(), text);
        }
    }
}
