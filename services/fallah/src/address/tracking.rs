//! Parameters that say where a reader came from and nothing about the page.

/// Families that a tool marks with a prefix.
const PREFIXES: [&str; 7] = [
    "utm_",    // Google Analytics and everybody after it
    "mtm_",    // Matomo
    "matomo_", // Matomo
    "pk_",     // Matomo under its old name
    "hsa_",    // HubSpot's advertisements
    "__hs",    // HubSpot's visitors (__hstc, __hssc, __hsfp)
    "at_",     // Piano (AT Internet): at_medium, at_campaign, at_custom1
];

/// Whole names. Each is set by an advertiser, a mailer or a network on its way to the page, never by the page itself.
const NAMES: &[&str] = &[
    // Identifiers of a click, one for each advertisement network.
    "fbclid",
    "gclid",
    "gclsrc",
    "dclid",
    "gbraid",
    "wbraid",
    "msclkid",
    "yclid",
    "ysclid",
    "twclid",
    "ttclid",
    "li_fat_id",
    "srsltid",
    "rb_clickid",
    "wickedid",
    "sc_cid",
    "igshid",
    "igsh",
    "mibextid",
    "sfnsn",
    // Identifiers of a mail and of its reader.
    "mc_cid",
    "mc_eid",
    "_hsenc",
    "_hsmi",
    "hsctatracking",
    "mkt_tok",
    "vero_id",
    "vero_conv",
    "oly_anon_id",
    "oly_enc_id",
    "ml_subscriber",
    "ml_subscriber_hash",
    // Analytics that carry a session over from another host.
    "_ga",
    "_gl",
    "_openstat",
    "xtor",
    "guccounter",
    "guce_referrer",
    "guce_referrer_sig",
    // What networks add when a link is shared.
    "fb_action_ids",
    "fb_action_types",
    "fb_source",
    "fb_ref",
    "__twitter_impression",
    "ref_src",
    "ref_url",
    "traffic_source",
    // WordPress: a cache key of its scheduler, and a link back to a comment form.
    "doing_wp_cron",
    "replytocom",
];

/// `ref` alone names a section on one site and a referrer on the next: only these values are referrers for sure.
const REFERRERS: [&str; 10] =
    ["facebook", "fb", "twitter", "x", "telegram", "whatsapp", "instagram", "linkedin", "rss", "newsletter"];

/// Whether a `name=value` of a query says nothing about the page.
pub(super) fn is_tracking(pair: &str) -> bool {
    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
    let name = name.to_ascii_lowercase();
    // A link that was escaped once too often: `?id=1&amp;utm_source=x`.
    let name = name.strip_prefix("amp;").unwrap_or(&name);
    PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        || NAMES.contains(&name)
        || (name == "ref" && REFERRERS.contains(&value.to_ascii_lowercase().as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_says_where_a_reader_came_from_is_tracking() {
        for pair in
            ["utm_source=x", "UTM_Medium=a", "fbclid=1", "gclid", "amp;utm_source=x", "ref=Twitter", "mc_eid="]
        {
            assert!(is_tracking(pair), "{pair}");
        }
    }

    #[test]
    fn what_may_name_a_page_is_kept() {
        for pair in ["id=1", "p=5", "ref=politics", "ref", "page=2", "lang=ar", "source=rss", "q=utm_source"] {
            assert!(!is_tracking(pair), "{pair}");
        }
    }
}
