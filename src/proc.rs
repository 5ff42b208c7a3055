//! How the kernel writes in `/proc` (proc(5)): one reader for the metrics, the doctor and the flood tool, which open
//! the files themselves. What is not in the expected form is `None`: a number is never made up.

/// The value behind `Key:` in a file of such rows, as `/proc/meminfo` and `/proc/PID/status` are.
pub fn field<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).map(str::trim)
}

/// The same of a row that counts kilobytes, in bytes.
pub fn bytes(text: &str, key: &str) -> Option<u64> {
    field(text, key)?.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

/// User and system time of all threads in `/proc/PID/stat` (fields 14 and 15), in ticks of `USER_HZ`.
pub fn cpu_ticks(stat: &str) -> Option<u64> {
    // The second field is the name in brackets, which may hold anything; the third follows the last bracket.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    user.checked_add(system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_found_by_its_whole_name() {
        let text = "MemTotal:  100 kB\nSReclaimable: 7 kB\nSlab:   12 kB\nCapEff:\t00ff\n";
        assert_eq!(bytes(text, "Slab"), Some(12 * 1024));
        assert_eq!(field(text, "CapEff"), Some("00ff"));
        assert_eq!(field(text, "Cached"), None);
    }

    #[test]
    fn what_is_in_another_form_is_none() {
        for text in ["", "Slab", "Slab:", "Slab: many kB", "Slab: -1 kB", "Slab: 18446744073709551615 kB"] {
            assert_eq!(bytes(text, "Slab"), None, "{text}");
        }
        for stat in ["", "42 (a", "42 (a) S 1 2", "42 (a) S 1 1 1 1 1 1 1 1 1 1 x y"] {
            assert_eq!(cpu_ticks(stat), None, "{stat}");
        }
    }

    #[test]
    fn times_are_read_past_a_name_with_spaces_and_brackets() {
        let stat = "42 (a b) c) S 1 42 42 0 -1 4194560 100 0 0 0 70 30 0 0 20 0 3 0 100 1000 50 18446744073709551615";
        assert_eq!(cpu_ticks(stat), Some(100));
    }
}
