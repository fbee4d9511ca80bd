//! Pages in the manner of real ones, written for these tests.

/// A WordPress page in Arabic with Yoast's graph, sharing buttons, an inner list of related articles, and comments that
/// are longer than the article.
pub(super) const YOAST_ARABIC: &str = r##"<!DOCTYPE html><html dir="rtl" lang="ar"><head>
<title>عودة الأمطار إلى سهول الجنوب بعد غياب - صحيفة المثال</title>
<meta property="og:site_name" content="صحيفة المثال"><meta property="og:title" content="عودة الأمطار إلى سهول الجنوب بعد غياب - صحيفة المثال">
<meta property="article:published_time" content="2024-05-01T21:30:00+00:00">
<meta name="twitter:label1" content="كُتب بواسطة"><meta name="twitter:data1" content="admin">
<script type="application/ld+json" class="yoast-schema-graph">{"@context":"https://schema.org","@graph":[
{"@type":"Article","@id":"https://mithal.test/rain/#article","isPartOf":{"@id":"https://mithal.test/rain/"},"author":{"name":"","@id":""},
"headline":"عودة الأمطار إلى سهول الجنوب بعد غياب","datePublished":"2024-05-01T21:30:00+00:00","dateModified":"2024-05-02T06:00:00+00:00",
"articleSection":["محليات","طقس"],"keywords":["أمطار","الجنوب"],"inLanguage":"ar"},
{"@type":"WebPage","@id":"https://mithal.test/rain/","url":"https://mithal.test/rain/","name":"عودة الأمطار - صحيفة المثال"},
{"@type":"Organization","@id":"https://mithal.test/#org","name":"صحيفة المثال"}]}</script></head>
<body class="post-template-default single single-post postid-77 has-sidebar">
<header class="site-header"><a href="/"><img class="logo" alt="صحيفة المثال" src="/logo.png"></a><div class="date">الجمعة 10 مايو 2024</div>
<nav><ul><li><a href="/a">سياسة</a></li><li><a href="/b">اقتصاد</a></li></ul></nav></header>
<main><article id="post-77" class="post-77 post type-post hentry category-news tag-ads">
<h1 class="entry-title">عودة الأمطار إلى سهول الجنوب بعد غياب</h1>
<div class="entry-meta"><span class="author vcard">كتبت: <a href="/author/rana" rel="author">رنا عودة</a></span> <time class="entry-date published" datetime="2024-05-02T00:30:00+03:00">الخميس 2 مايو 2024 - 12:30 ص</time></div>
<div class="sharedaddy"><a href="https://social.test/share">شارك على فيسبوك</a> <a href="#">تويتر</a></div>
<div class="entry-content">
<p>هطلت الأمطار فجر اليوم على سهول الجنوب للمرة الأولى منذ خمسة أشهر، وخرج المزارعون إلى حقولهم يستقبلونها بعد موسم جاف طويل أنهك الآبار والمراعي.</p>
<p>وقال رئيس جمعية المزارعين إن الكميات التي سُجلت حتى الظهر تجاوزت ثلاثين مليمترًا في بعض القرى، وإنها تكفي لإنقاذ المحاصيل الصيفية إذا استمرت أيامًا.</p>
<div class="related-posts"><h3>اقرأ أيضًا</h3><ul><li><a href="/x1">الآبار تجف في ثلاث قرى جنوبية</a></li><li><a href="/x2">خطة جديدة لحصاد مياه الأمطار</a></li></ul></div>
<h2>توقعات الأيام المقبلة</h2>
<p>وتوقعت دائرة الأرصاد أن تستمر الأجواء الماطرة حتى نهاية الأسبوع، مع انخفاض في درجات الحرارة وتشكل السيول في الأودية، داعيةً السكان إلى الابتعاد عن مجاريها.</p>
<p>اقرأ أيضا:</p><p><a href="/x3">كيف تستعد البلديات لموسم السيول؟</a></p>
<figure class="wp-caption"><img src="/rain.jpg" width="800"><figcaption>مزارع في حقله، تصوير فلان</figcaption></figure>
<p>وأعلنت البلديات حال الطوارئ في مراكزها، ونشرت فرقًا لتنظيف العبّارات وتصريف المياه من الشوارع المنخفضة قبل ساعات الذروة.</p>
</div></article>
<section id="comments" class="comments-area"><h2>التعليقات</h2><ol class="commentlist">
<li class="comment"><p>هذا تعليق طويل من قارئ يشرح فيه رأيه في الموضوع بتفصيل كبير جدًا، ويروي فيه كيف كانت الأمطار في طفولته تملأ الأودية كلها وتفيض على الطرقات.</p></li>
<li class="comment"><p>وهذا تعليق آخر أطول منه من قارئة تقول إن المشكلة ليست في الأمطار بل في سوء إدارة المياه منذ عقود طويلة، وإن السدود لم تُنظف منذ سنين كثيرة مضت.</p></li>
<li class="comment"><p>وتعليق ثالث يرد على الأول ويقول إن الكلام غير دقيق وإن الأودية ما زالت تفيض كل عام، وإن من يزورها يعرف ذلك جيدًا، فلماذا كل هذا التشاؤم يا أصدقاء؟</p></li></ol></section>
</main><aside class="sidebar"><h3>الأكثر قراءة</h3><ul><li><a href="/m1">خبر أول مهم جدًا للقراء</a></li></ul></aside>
<footer>جميع الحقوق محفوظة صحيفة المثال 2024</footer></body></html>"##;

/// A page of the old kind: tables, fonts, line breaks, no markup of facts, windows-1256 (the bytes are made in the test).
pub(super) const OLD_ARABIC: &str = r##"<html><head><meta http-equiv="Content-Type" content="text/html; charset=windows-1256">
<title>جريدة المثال :: انتخاب رئيس جديد لنقابة المعلمين</title></head><body bgcolor="#ffffff">
<form name="aspnetForm" method="post" action="n.aspx?id=5"><table width="100%"><tr><td colspan="2"><a href="/"><img src="l.gif" alt="جريدة المثال"></a></td></tr>
<tr><td width="20%"><a href="1.htm">الرئيسية</a><br><a href="2.htm">رياضة</a><br><a href="3.htm">ثقافة</a></td>
<td><font size="5"><b>انتخاب رئيس جديد لنقابة المعلمين</b></font><br><font color="gray">بقلم: سامي العلي</font><br>
<font color="gray">24 نيسان / أبريل 2008 الساعة 9:15 صباحًا</font><br><br>
انتخبت الهيئة العامة لنقابة المعلمين أمس رئيسًا جديدًا لها في اجتماع حضره أكثر من ألف عضو من مختلف المحافظات، وسط إقبال لم تشهده النقابة من قبل.<br><br>
وقال الرئيس الجديد في كلمته إن الأولوية في المرحلة المقبلة ستكون لتحسين أوضاع المعلمين في القرى البعيدة، ولإعادة فتح مراكز التدريب التي أغلقت.<br><br>
ومن المقرر أن تجتمع الهيئة الإدارية الأسبوع المقبل لتوزيع المهام على أعضائها ووضع خطة العمل للسنتين القادمتين.<br>
</td></tr></table></form></body></html>"##;

/// A live page: the newest first, times as headings, no byline.
pub(super) const LIVE: &str = r##"<html lang="en"><head><title>Storm reaches the coast: live | Example Times</title>
<meta property="og:site_name" content="Example Times"><meta property="og:title" content="Storm reaches the coast: live">
<script type="application/ld+json">{"@type":"LiveBlogPosting","headline":"Storm reaches the coast: live","datePublished":"2024-03-01T06:00:00Z","author":{"@type":"Organization","name":"Example Times"}}</script></head>
<body><main><h1>Storm reaches the coast: live</h1><div class="live-feed">
<div class="live-entry"><h3>14:05</h3><p>The harbour has been closed to all ships, the port authority says, and ferries will not leave before tomorrow morning.</p></div>
<div class="live-entry"><h3>13:20</h3><p>Power is out in four coastal towns, where trees have fallen across the lines in several places since the early morning.</p></div>
<div class="live-entry"><h3>12:40</h3><p>Schools have sent children home, and the fire brigade asks everybody to keep away from the beach and from the old pier.</p></div>
</div></main></body></html>"##;

/// An AMP page with a widespread plugin's markup.
pub(super) const AMP: &str = r##"<!doctype html><html amp lang="en"><head><meta charset="utf-8"><title>A bridge opens after nine years</title>
<link rel="canonical" href="https://www.n.test/2023/11/05/bridge"><script type="application/ld+json">
/*<![CDATA[*/ {"@context":"http://schema.org","@type":"NewsArticle","mainEntityOfPage":"https://www.n.test/2023/11/05/bridge","headline":"A bridge opens after nine years",
"datePublished":"2023-11-05T08:00:00-05:00","author":[{"@type":"Person","name":"Ann Lee"},{"@type":"Person","name":"Bo Cruz"}],"publisher":{"@type":"Organization","name":"N News"},} /*]]>*/</script></head>
<body><amp-sidebar id="s"><ul><li>Home</li></ul></amp-sidebar><article class="amp-wp-article"><header class="amp-wp-article-header"><h1 class="amp-wp-title">A bridge opens after nine years</h1>
<div class="amp-wp-meta amp-wp-byline">By Ann Lee and Bo Cruz</div></header><div class="amp-wp-article-content">
<p>The bridge over the lower river opened to traffic on Sunday morning, nine years after the first stone was laid and four years later than planned.</p>
<amp-ad width=300 height=250 type="x"><p>Buy something that nobody needs, today only, in a shop near you, with a discount of many percent.</p></amp-ad>
<p>Drivers who used to spend an hour at the ferry can now cross in two minutes, and the first of them were waiting at the barrier before dawn.</p>
<p>The ferry, which has run since 1931, will stop at the end of the month, and its crew of eleven will be offered work with the port.</p>
</div></article></body></html>"##;

/// A page of builders' boxes, all of which are widgets, with a biography below.
pub(super) const BUILDER: &str = r##"<html><head><title>Why the old mill still turns – Valley Post</title><meta property="og:site_name" content="Valley Post"></head>
<body><div class="elementor elementor-55"><div class="elementor-widget elementor-widget-theme-post-title"><div class="elementor-widget-container"><h1 class="elementor-heading-title">Why the old mill still turns</h1></div></div>
<div class="elementor-widget elementor-widget-post-info"><ul><li itemprop="author"><a href="/author/ivy">Ivy Marsh</a></li><li itemprop="datePublished"><time>March 3, 2024</time></li></ul></div>
<div class="elementor-widget elementor-widget-theme-post-content"><div class="elementor-widget-container">
<p>The mill at the end of the valley was built before there were roads, and it has been turning, with two pauses for war, ever since.</p>
<p>Its keeper says that nothing about it is efficient, and that this is why people come: to see a thing done slowly and well.</p>
<blockquote><p>You can hear when it is content, the keeper says, and you can hear it sulk when the water is low for weeks.</p></blockquote>
<ul><li>It grinds wheat and rye on two days a week.</li><li>It is open to visitors on Sundays.</li></ul>
<p>Ivy Marsh writes about the valley for this paper and lives at its upper end with a dog.</p>
</div></div>
<div class="elementor-widget elementor-widget-posts"><article class="elementor-post"><h3 class="elementor-post__title"><a href="/p1">The road that nobody asked for</a></h3><p>It was planned in secret and it will be opened in public.</p></article>
<article class="elementor-post"><h3 class="elementor-post__title"><a href="/p2">A school without bells or desks</a></h3><p>Teachers like it, parents are not so sure about it at all.</p></article>
<article class="elementor-post"><h3 class="elementor-post__title"><a href="/p3">What the river took this year</a></h3><p>Three sheds, a boat, and a part of the lower vineyard.</p></article></div>
</div></body></html>"##;

/// A page whose text is built by script and told in JSON-LD alone.
pub(super) const SCRIPTED: &str = r##"<html><head><title>App</title><script type="application/ld+json">{"@type":"NewsArticle","headline":"Ferry crew saves two swimmers","datePublished":"2024-07-08","author":"Bo Cruz",
"articleBody":"The crew of the evening ferry pulled two swimmers from the water on Monday, half an hour after they had been reported missing from the northern beach.\n\nBoth are well, the coast guard said, and one of them has asked to thank the captain, who had turned the ferry around on his own judgement against the timetable."}</script></head><body><div id="root"></div></body></html>"##;

/// An agency's page in Arabic: boxes for paragraphs, no class that says anything, the date in words and with the digits
/// of the region, cards of other news below.
pub(super) const AGENCY_ARABIC: &str = r##"<html lang="en-US" dir="rtl"><head><title>وزير المياه: مخزون السدود يرتفع إلى النصف | وكالة المثال</title>
<meta property="og:title" content="وزير المياه: مخزون السدود يرتفع إلى النصف"><meta property="article:published_time" content="الأربعاء، 07 أكتوبر 2020 - 12:09 م">
<script type="application/ld+json">{"@type":"NewsArticle","headline":"وزير المياه: مخزون السدود يرتفع إلى النصف","author":{"@type":"Organization","name":"وكالة المثال"},"publisher":{"@type":"Organization","name":"وكالة المثال"}}</script></head>
<body><div class="topbar"><span class="date">الأحد 1 نوفمبر 2020</span></div><div id="wrapper"><div class="col-md-8"><h1>وزير المياه: مخزون السدود يرتفع إلى النصف</h1>
<div class="info"><span>عمان - بترا</span> | <span>نشر بتاريخ: ٧-١٠-٢٠٢٠</span></div><div class="tools"><a href="#">طباعة</a></div>
<div class="details"><div>قال وزير المياه في تصريح اليوم إن مخزون السدود الرئيسية ارتفع إلى نصف طاقتها الكلية، بعد الهطولات التي شهدتها المملكة في الأيام الماضية.</div><div>&nbsp;</div>
<div>وأضاف أن الوزارة ستعيد تشغيل محطات الضخ المتوقفة تباعًا، بدءًا من المحافظات الشمالية التي عانت من النقص أكثر من غيرها.</div></div>
<div class="share">شارك الخبر: <a href="x">فيسبوك</a></div><h3>مواضيع ذات صلة</h3><div class="row"><div class="col"><a href="/1"><h4>خبر آخر عن السدود في المملكة</h4></a></div>
<div class="col"><a href="/2"><h4>خبر ثان عن المياه في الشمال</h4></a></div><div class="col"><a href="/3"><h4>خبر ثالث عن الأمطار في الجنوب</h4></a></div></div></div></div></body></html>"##;
