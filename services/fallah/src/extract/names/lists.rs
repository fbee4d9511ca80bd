//! Words around names, and what is no name.

use crate::extract::words::Words;

/// Words before a name. Longer ones stand first, so that "written by" is not read as "written".
pub(super) const PREFIXES: &str = "reviewed and written by|medically reviewed by|words and photos by|story and photos by|\
    as told to|written by|posted by|published by|reported by|reporting by|story by|text by|words by|analysis by|opinion by|\
    review by|column by|commentary by|article by|created by|updated by|photos by|submitted by|contributed by|compiled by|\
    edited by|the author|author(s)|authors|author|by|von|par|por|escrito por|publicado por|rédigé par|di|de|door|av|af|oleh|\
    przez|автор|текст|text|yazan|بقلم|كتب|كتبت|كتبه|كتبها|كتابة|إعداد|اعداد|تقرير|حوار|ترجمة|تحرير|تحقيق|بواسطة|أجرى الحوار|\
    الكاتب|الكاتبة";

/// What a newsroom calls itself when nobody signs, folded.
pub(super) static NOBODY: Words = Words::new(
    "staff admin administrator editor editors editorial editorialstaff editorialteam editorialboard theeditors \
     theeditorialboard newsroom newsdesk newsstaff newsteam webdesk webstaff webteam onlinedesk staffwriter \
     staffreporter staffreporters ourcorrespondent correspondent reporter contributor contributors guest \
     guestauthor guestcontributor guestwriter anonymous unknown none null undefined nan user root webmaster \
     author desk team agencies agency wire wirereports wireservices pressrelease sponsored sponsoredcontent \
     partnercontent advertorial redaktion redazione laredaction redaccion redacao redactie المحرر التحرير \
     هيئةالتحرير فريقالتحرير قسمالتحرير أسرةالتحرير المحررون مراسلنا وكالات الوكالات متابعات رصد خاص",
);

/// News agencies, folded. Their reports are unsigned as far as a reader of this page can tell.
pub(super) static AGENCIES: Words = Words::new(
    "ap associatedpress theassociatedpress apnews reuters thomsonreuters afp agencefrancepresse afpnewsagency \
     upi pti ani ians dpa efe ansa tass xinhua bloombergnews presstrust presstrustofindia pamediagroup \
     pressassociation pamedia canadianpress thecanadianpress cnnwire cnnnewsource tribunenewsservice \
     prnewswire businesswire globenewswire رويترز أفب فرانسبرس أسوشيتدبرس الأناضول بترا سانا واس وام قنا \
     شينخوا دبأ",
);

/// Words that make a phrase a post, not a name.
pub(super) static POSTS: Words = Words::new(
    "writer reporter editor correspondent columnist contributor producer staff journalist analyst director \
     manager author photographer critic fellow professor intern news desk team specialist senior managing \
     associate assistant executive chief anchor host blogger bureau agency press media network magazine \
     newspaper university department newsroom editorial newsletter مراسل مراسلة محرر محررة كاتب كاتبة صحفي \
     صحفية رئيس مدير وكالة وكالات صحيفة جريدة موقع قناة شبكة",
);

/// Behind a comma these belong to the name.
pub(super) static SUFFIXES: Words = Words::new("jr sr ii iii iv phd md mph rd rn esq dds cpa mba cfa do ms ma");

/// Given names that begin with the letter that also means "and".
pub(super) static WAW_NAMES: Words = Words::new(
    "وليد وائل وسام وفاء وجدي وداد وسيم ورد وردة وحيد وصفي وضاح وهبة وهبي والي وديع وعد وجيه وسن وئام وفيق \
     واصف وهيب وجيهة ولاء وحدة",
);

/// Words of buttons, fields, months and days, which stand where names do.
pub(super) static LABELS: Words = Words::new(
    "january february march april june july august september october november december monday tuesday wednesday \
     thursday friday saturday sunday medium large text authors sponsored exclusive print comment save gallery video \
     watch listen copy link close search login sign following share follow more read image photo getty gettyimages twitter facebook email instagram linkedin about home \
     updated published opinion sports sport politics business by advertisement subscribe comments profile bio \
     view posts website contact القاهرة عمان عمّان بيروت دمشق بغداد الرياض دبي أبوظبي الدوحة الكويت المنامة مسقط صنعاء عدن الخرطوم طرابلس تونس \
     الجزائر الرباط نواكشوط القدس غزة جدة أنقرة إسطنبول واشنطن لندن باريس موسكو مشاركة المزيد المصدر الرئيسية تابعنا",
);

/// Words behind a name that begin something else.
pub(super) static ENDS: Words = Words::new(
    "for in at from of on pour für para via Published Updated Posted published updated posted Special Contributing Staff \
     Senior Follow @ في بتاريخ يوم",
);

/// Days of the week as they stand behind a name.
pub(super) static WEEKDAYS: Words =
    Words::new("Monday Tuesday Wednesday Thursday Friday Saturday Sunday الأحد الاثنين الإثنين الثلاثاء الأربعاء الاربعاء");

/// Those that are names, too, unless the day of the month follows.
pub(super) static WEEKDAY_NAMES: Words = Words::new("Mon Tue Tues Wed Thu Thurs Fri Sat Sun الخميس الجمعة السبت");

/// Months as they stand behind a name in a byline.
pub(super) static MONTHS: Words = Words::new(
    "january jan february feb march mar april apr may june jun july jul august aug september sep sept october oct november \
     nov december dec",
);

/// Words of a date. A phrase of nothing else is nobody.
pub(super) static CALENDAR: Words = Words::new(
    "january jan february feb march mar april apr may june jun july jul august aug september sep sept october oct november \
     nov december dec monday mon tuesday tue tues wednesday wed thursday thu thurs friday fri saturday sat sunday sun am pm \
     الأحد الاثنين الإثنين الثلاثاء الأربعاء الاربعاء الخميس الجمعة السبت يناير فبراير مارس أبريل ابريل إبريل مايو يونيو يونيه \
     يوليو يوليه أغسطس اغسطس سبتمبر أكتوبر اكتوبر نوفمبر ديسمبر كانون الثاني الأول شباط آذار اذار نيسان أيار ايار حزيران تموز آب \
     أيلول ايلول تشرين جانفي فيفري أفريل ماي جوان جويلية أوت محرم صفر ربيع الآخر جمادى رجب شعبان رمضان شوال صباحا صباحًا مساء مساءً",
);
