//! Lets pods through where another program forwards nothing by default, as Docker and some firewalls do: what one chain of
//! nftables accepts another may still drop, so that it takes a rule in that very chain. Works on the chain that `iptables`
//! (its nftables form) keeps; rules of its legacy form cannot be seen, nor changed, this way.

use std::fmt::Write;

use super::Cidr;
use crate::runtime::Error;
use crate::runtime::nft;

/// Family, table and chain.
const CHAIN: [&str; 3] = ["ip", "filter", "FORWARD"];

/// Puts two rules at the head of the chain, where there is such a chain, it drops by default and they are not there yet.
///
/// # Errors
/// Where `nft` is missing or refuses; nothing is changed then.
pub async fn open(bridge: &str, pods: Cidr) -> Result<(), Error> {
    match nft::chain(&CHAIN).await? {
        Some(text) => nft::apply(&opening(&text, &mark(bridge), pods)).await,
        None => Ok(()),
    }
}

/// Takes the rules away, where they are there.
///
/// # Errors
/// Where `nft` is missing or refuses.
pub async fn close(bridge: &str) -> Result<(), Error> {
    match nft::chain(&CHAIN).await? {
        Some(text) => nft::apply(&closing(&text, &mark(bridge))).await,
        None => Ok(()),
    }
}

/// The comment by which the rules are known.
fn mark(bridge: &str) -> String {
    format!("comment \"pods of {bridge}\"")
}

/// Commands for `nft`, given the chain's listing.
fn opening(listing: &str, mark: &str, pods: Cidr) -> String {
    if listing.contains(mark) || !listing.contains("policy drop;") {
        return String::new();
    }
    let chain = CHAIN.join(" ");
    format!("insert rule {chain} ip saddr {pods} accept {mark}\ninsert rule {chain} ip daddr {pods} accept {mark}\n")
}

/// Commands for `nft`, given the chain's listing with handles.
fn closing(listing: &str, mark: &str) -> String {
    let ours = listing.lines().filter(|line| line.contains(mark));
    let handles = ours.filter_map(|line| line.rsplit_once("# handle ")?.1.trim().parse::<u64>().ok());
    handles.fold(String::new(), |mut text, handle| {
        let _ = writeln!(text, "delete rule {} handle {handle}", CHAIN.join(" "));
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLOSED: &str = "table ip filter {
	chain FORWARD { # handle 1
		type filter hook forward priority filter; policy drop;
		counter packets 0 bytes 0 jump DOCKER-USER # handle 4
	}
}
";
    const OPENED: &str = "table ip filter {
	chain FORWARD { # handle 1
		type filter hook forward priority filter; policy drop;
		ip daddr 10.244.0.0/16 accept comment \"pods of shoal0\" # handle 9
		ip saddr 10.244.0.0/16 accept comment \"pods of shoal0\" # handle 8
		ip saddr 10.9.0.0/16 accept comment \"pods of shoal01\" # handle 7
		counter packets 0 bytes 0 jump DOCKER-USER # handle 4
	}
}
";

    #[test]
    fn rules_are_added_once_and_only_where_the_chain_drops() {
        let pods = "10.244.0.0/16".parse().unwrap();
        let text = opening(CLOSED, &mark("shoal0"), pods);
        assert_eq!(
            text,
            "insert rule ip filter FORWARD ip saddr 10.244.0.0/16 accept comment \"pods of shoal0\"\n\
             insert rule ip filter FORWARD ip daddr 10.244.0.0/16 accept comment \"pods of shoal0\"\n"
        );
        assert_eq!(opening(OPENED, &mark("shoal0"), pods), "");
        assert_eq!(opening(&CLOSED.replace("drop", "accept"), &mark("shoal0"), pods), "");
    }

    #[test]
    fn only_the_rules_of_this_bridge_are_taken_away() {
        let text = closing(OPENED, &mark("shoal0"));
        assert_eq!(text, "delete rule ip filter FORWARD handle 9\ndelete rule ip filter FORWARD handle 8\n");
        assert_eq!(closing(CLOSED, &mark("shoal0")), "");
    }
}
