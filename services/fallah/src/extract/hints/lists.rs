//! Words of class names, as front ends of newsrooms and widespread systems use them.

use crate::extract::words::Words;

/// First words of names that speak of a state, of a switch, or of a builder of pages.
pub(super) static STATES: Words = Words::new(
    "no has with without hide show is single page wp postid elementor et vc wpb fl brxe hidden visible print",
);

/// Names of the place of the text, written in one word.
pub(super) static BODIES: Words = Words::new(
    "articlebody entrycontent postcontent storybody articletext articlecontent postbody storycontent newsbody \
     newstext bodytext bodycopy storytext contentbody richtext newscontent",
);

/// What readers say.
pub(super) static TALK: Words = Words::new(
    "comment comments commentlist commentlisting commenting disqus respond reply replies livefyre discussion \
     viafoura coral spotim remark42 commento utterances",
);

/// What stands around and between the text.
pub(super) static NOISE: Words = Words::new(
    "ad ads adv advert advertisement adverts advertising adslot adunit adsense admz dfp gpt sponsor sponsored \
     sponsors share sharing sharebar sharethis sharedaddy shares addthis addtoany social socials socialshare \
     follow followus jetpack related relateds relatedposts relatednews relatedarticles recommended \
     recommendation recommendations recommend recirc recirculation outbrain taboola trending popular mostread \
     mostpopular readmore morenews readnext upnext suggested suggestions similar jp yarpp zergnet revcontent \
     mgid newsletter newsletters subscribe subscription subscriptions signup optin mailchimp promo promos \
     promotion promotions cta paywall regwall piano donate donation membership sidebar sidebars rail \
     breadcrumb breadcrumbs crumbs nav navbar navigation menu menus submenu footer foot masthead topbar \
     toolbar toolbox tools tags tag taglist tweet tweets instagram tiktok tagcloud topics keywords categories \
     widget widgets teaser teasers carousel slider swiper slick playlist ticker banner billboard leaderboard \
     caption captions figcaption wpcaptiontext credit credits copyright attribution byline bylines author \
     authors authorbox authorbio bio biography avatar contributors vcard saboxplugin dateline timestamp \
     pubdate metadata meta postmeta entrymeta cookie cookies consent gdpr modal popup overlay dialog tooltip \
     login signin register print printonly noprint skip hidden invisible hide sr screenreader visuallyhidden \
     toc rating ratings vote votes poll pagination pager paging prevnext audio player videoplayer podcast \
     listen disclaimer disclosure affiliate feedback corrections backlink backlinks listing cards headlines",
);

/// Where facts are about other articles.
pub(super) static OTHERS: Words = Words::new(
    "related relateds relatedposts relatednews recommended recommendations recommendation recirc sidebar \
     widget widgets footer caption trending popular teaser teasers promo promos mostread latest newsletter \
     readnext carousel card cards outbrain taboola ticker suggested upnext morenews masthead topbar",
);
