//! Token scopes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::types::reference::name::Repository;

/// The maximum number of resources in a scope, and of actions on one resource. Registries use one or two.
const MAX_PARTS: usize = 32;
/// The maximum length of a scope's text, in bytes.
const MAX_LEN: usize = 4 << 10;

/// The access that a token grants: a sorted set of actions on resources.
///
/// Source: Docker's token scope documentation: `resourcescope = resourcetype ":" resourcename ":"
/// action *("," action)`, separated by spaces.
///
/// ```
/// use oci_proto::Scope;
///
/// let scope = Scope::parse("repository:team/app:push,pull repository:team/app:pull");
/// assert_eq!(scope.to_string(), "repository:team/app:pull,push");
/// assert!(scope.covers(&Scope::pull(&"team/app".parse()?)));
/// # Ok::<(), oci_proto::InvalidReference>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope {
    /// Maps the text before the last colon, type and name, to actions. A part in any other form has no
    /// actions.
    resources: BTreeMap<String, BTreeSet<String>>,
}

impl Scope {
    /// Returns the scope to pull from a repository.
    pub fn pull(repository: &Repository) -> Self {
        let actions = BTreeSet::from(["pull".to_owned()]);
        Self { resources: BTreeMap::from([(format!("repository:{repository}"), actions)]) }
    }

    /// Returns the scope to pull from a repository and push to it.
    pub fn push(repository: &Repository) -> Self {
        let actions = ["pull", "push"].map(str::to_owned).into();
        Self { resources: BTreeMap::from([(format!("repository:{repository}"), actions)]) }
    }

    /// Parses the `scope` of a challenge. Parts that do not have the specified form are kept verbatim,
    /// since they may have a meaning to the registry. Text longer than 4 KiB counts as empty, and only
    /// the first 32 resources, and the first 32 actions on each, are kept.
    pub fn parse(text: &str) -> Self {
        let mut scope = Self::default();
        let text = if text.len() > MAX_LEN { "" } else { text };
        for part in text.split_ascii_whitespace() {
            if scope.resources.len() == MAX_PARTS {
                break;
            }
            let (resource, actions) = match part.rsplit_once(':') {
                // Has a type, a name and at least one action.
                Some((resource, actions)) if resource.contains(':') && actions.bytes().any(|b| b != b',') => {
                    (resource, actions)
                }
                _ => (part, ""),
            };
            let known = scope.resources.entry(resource.to_owned()).or_default();
            for action in actions.split(',').filter(|action| !action.is_empty()) {
                if known.len() == MAX_PARTS {
                    break;
                }
                known.insert(action.to_owned());
            }
        }
        scope
    }

    /// Returns whether the scope grants no access.
    pub fn is_empty(&self) -> bool {
        self.resources.is_empty()
    }

    /// The resources, each without its actions.
    pub(crate) fn resources(&self) -> impl Iterator<Item = &str> {
        self.resources.keys().map(String::as_str)
    }

    /// Adds all access that `other` grants.
    pub fn merge(&mut self, other: &Self) {
        for (resource, actions) in &other.resources {
            self.resources.entry(resource.clone()).or_default().extend(actions.iter().cloned());
        }
    }

    /// Returns whether the scope grants all access that `other` does. The action `*` matches every action.
    pub fn covers(&self, other: &Self) -> bool {
        other.resources.iter().all(|(resource, wanted)| {
            self.resources
                .get(resource)
                .is_some_and(|allowed| allowed.contains("*") || wanted.is_subset(allowed))
        })
    }

    /// Returns the resources with their actions, each in the form of a token request's `scope` parameter.
    pub fn params(&self) -> impl Iterator<Item = String> {
        self.resources.iter().map(|(resource, actions)| {
            let actions: Vec<&str> = actions.iter().map(String::as_str).collect();
            if actions.is_empty() { resource.clone() } else { format!("{resource}:{}", actions.join(",")) }
        })
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.params().collect::<Vec<_>>().join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_sorted_without_duplicates() {
        for (text, printed) in [
            ("repository:b:pull repository:a:pull", "repository:a:pull repository:b:pull"),
            ("repository:a:push,pull,pull repository:a:delete", "repository:a:delete,pull,push"),
            ("registry:catalog:*", "registry:catalog:*"),
            ("repository(plugin):a/b:pull", "repository(plugin):a/b:pull"),
            ("repository:host:5000/a:pull", "repository:host:5000/a:pull"),
            ("  ", ""),
            ("openid", "openid"),
            ("aws", "aws"),
            ("repository:a:", "repository:a:"),
            ("repository:a:,", "repository:a:,"),
        ] {
            let scope = Scope::parse(text);
            assert_eq!(scope.to_string(), printed, "{text}");
            assert_eq!(Scope::parse(printed), scope, "{text}");
        }
    }

    #[test]
    fn a_scope_covers_its_subsets() {
        let covers = |scope: &str, need: &str| Scope::parse(scope).covers(&Scope::parse(need));
        assert!(covers("repository:a:pull,push", "repository:a:pull"));
        assert!(covers("repository:a:*", "repository:a:delete"));
        assert!(covers("repository:a:pull repository:b:pull", "repository:b:pull"));
        assert!(covers("", ""));
        assert!(!covers("repository:a:pull", "repository:a:pull,push"));
        assert!(!covers("repository:a:pull", "repository:b:pull"));
        assert!(!covers("", "openid"));
    }

    #[test]
    fn merging_is_idempotent() {
        let mut scope = Scope::parse("repository:a:pull");
        let more = Scope::parse("repository:a:push repository:b:pull");
        scope.merge(&more);
        let once = scope.clone();
        scope.merge(&more);
        assert_eq!(scope, once);
        assert_eq!(scope.to_string(), "repository:a:pull,push repository:b:pull");
    }

    #[test]
    fn long_text_is_bounded() {
        assert!(Scope::parse(&"x".repeat(MAX_LEN + 1)).is_empty());
        assert!(!Scope::parse(&"x".repeat(MAX_LEN)).is_empty());
        assert_eq!(
            Scope::parse(&(0..100).fold(String::new(), |all, n| format!("{all} s{n}"))).params().count(),
            MAX_PARTS
        );
        // Repeating a resource does not raise its limit of actions.
        let actions = |from: u32| (from..from + 30).fold(String::new(), |all, n| format!("{all},a{n}"));
        let scope = Scope::parse(&format!("x:y:{} x:y:{}", actions(0), actions(30)));
        assert_eq!(scope.to_string().split(',').count(), MAX_PARTS);
    }
}
