//! What `PEERLESS_DIGEST` does. It is read once a process, so each value gets a process of its own:
//! this program again, asked for one test.

use std::{env, process::Command};

use digest::Algorithm;

#[test]
fn the_variable_chooses_the_kernel() {
    for name in ["portable", "sha-ni", "avx2", "avx512", "", "AVX2"] {
        let program = env::current_exe().expect("a test has a path");
        let output = Command::new(program)
            .args(["--exact", "--ignored", "what_the_variable_names_is_used"])
            .env("PEERLESS_DIGEST", name)
            .output()
            .expect("a test can be run");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("1 passed"), "{name:?}: {text}");
    }
}

// Alone it would say nothing: the test above runs it once for each value, in every `cargo test`.
#[test]
#[ignore = "run by the other test, with the variable set"]
fn what_the_variable_names_is_used() {
    let wish = env::var("PEERLESS_DIGEST").unwrap_or_default();
    for algorithm in [Algorithm::Sha1, Algorithm::Sha256] {
        let info = digest::kernel(algorithm);
        let text = info.to_string();
        match &info.refused {
            None if wish.is_empty() => assert!(text.starts_with(info.many.name()), "{text}"),
            None => assert_eq!(text, wish),
            // A name that is right is refused only where the machine lacks the instructions.
            Some(refused) => {
                assert!(["sha-ni", "avx2", "avx512", "AVX2"].contains(&wish.as_str()), "{text}");
                assert!(text.ends_with(&refused.to_string()) && text.contains(&wish), "{text}");
            }
        }
    }
    assert_eq!(digest::sha1(&[b"abc"])[..4], [0xa9, 0x99, 0x3e, 0x36]);
}
