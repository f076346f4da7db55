//! Korean nouns, which are written together with their particles.

/// Particles, the longest first.
const PARTICLES: &[&str] = &[
    "에서는",
    "에게서",
    "으로는",
    "이라고",
    "에서",
    "에게",
    "에는",
    "으로",
    "부터",
    "까지",
    "이나",
    "이랑",
    "라고",
    "하고",
    "한테",
    "처럼",
    "보다",
    "마다",
    "조차",
    "밖에",
    "을",
    "를",
    "이",
    "가",
    "은",
    "는",
    "에",
    "의",
    "도",
    "로",
    "와",
    "과",
    "만",
    "랑",
    "나",
];

/// A word without its particle, if it may have one.
pub(super) fn without_particle(word: &str) -> Option<&str> {
    PARTICLES
        .iter()
        .find_map(|particle| word.strip_suffix(particle))
        .filter(|noun| !noun.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_particle_is_no_part_of_its_noun() {
        assert_eq!(without_particle("우산을"), Some("우산"));
        assert_eq!(without_particle("학교에서는"), Some("학교"));
        assert_eq!(without_particle("은"), None);
    }
}
