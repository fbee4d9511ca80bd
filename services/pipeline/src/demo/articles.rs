//! What was written for the site. The town, its people and what happens to them are made up.

/// An article and its editions.
pub(super) struct Article {
    pub(super) slug: &'static str,
    pub(super) language: &'static str,
    pub(super) section: &'static str,
    pub(super) author: &'static str,
    pub(super) editions: &'static [Edition],
}

/// What it says at one time.
pub(super) struct Edition {
    pub(super) title: &'static str,
    pub(super) paragraphs: &'static [&'static str],
}

pub(super) const ARTICLES: [Article; 12] = [
    Article {
        slug: "old-crane-stays",
        language: "en",
        section: "Harbour",
        author: "Tom Ellery",
        editions: &[
            Edition {
                title: "The old crane at the fish quay will stay",
                paragraphs: &[
                    "The blue crane at the fish quay of Marsa Qamar will not be taken down. The harbour board decided on Tuesday to keep it \
                     as a landmark, after three hundred residents had signed a letter that called it the town's tallest neighbour.",
                    "The crane was built in 1934 and lifted its last load, a crate of oranges, eleven years ago. Since then only gulls have \
                     used it. An engineer who climbed it in spring found the frame sound and the paint beyond help.",
                    "The board will pay for a new coat of paint and for a lamp at the top. \"It will do no work,\" said its chair, Huda \
                     Saleem, \"but it will tell fishermen from far away that they are nearly home.\"",
                ],
            },
            Edition {
                title: "The old crane at the fish quay will stay, and may be lit at night",
                paragraphs: &[
                    "The blue crane at the fish quay of Marsa Qamar will not be taken down. The harbour board decided on Tuesday to keep it \
                     as a landmark, after four hundred and twelve residents had signed a letter that called it the town's tallest neighbour.",
                    "The crane was built in 1934 and lifted its last load, a crate of oranges, eleven years ago. Since then only gulls have \
                     used it. An engineer who climbed it in spring found the frame sound and the paint beyond help.",
                    "The board will pay for a new coat of paint. Whether there will be a lamp at the top is to be decided next month, since \
                     two households on Rope Street fear for their sleep.",
                ],
            },
        ],
    },
    Article {
        slug: "maktabat-al-hay",
        language: "ar",
        section: "ثقافة",
        author: "هالة منصور",
        editions: &[
            Edition {
                title: "مكتبة الحي القديم تفتح أبوابها مساء",
                paragraphs: &[
                    "تبدأ مكتبة الحي القديم في مرسى قمر الأسبوع المقبل فتح أبوابها حتى التاسعة مساء، بعد أن طلب ذلك طلاب المدرسة الثانوية \
                     وعمال الميناء الذين لا يعودون إلى بيوتهم قبل الغروب.",
                    "وقالت أمينة المكتبة سعاد الراوي إن القاعة الكبرى ستبقى هادئة للقراءة، فيما تخصص الغرفة المطلة على البحر لحكايات الأطفال \
                     يومي الأحد والأربعاء. وأضافت أن المكتبة تلقت مئتي كتاب هدية من عائلة بحار متقاعد.",
                    "وتضم المكتبة نحو تسعة آلاف كتاب، أقدمها أطلس رسمت فيه سواحل المدينة قبل مئة وعشرين عاما.",
                ],
            },
            Edition {
                title: "مكتبة الحي القديم تفتح أبوابها حتى العاشرة مساء",
                paragraphs: &[
                    "تبدأ مكتبة الحي القديم في مرسى قمر الأسبوع المقبل فتح أبوابها حتى العاشرة مساء، بعد أن طلب ذلك طلاب المدرسة الثانوية \
                     وعمال الميناء الذين لا يعودون إلى بيوتهم قبل الغروب. وكانت نسخة سابقة من هذا الخبر قد ذكرت التاسعة.",
                    "وقالت أمينة المكتبة سعاد الراوي إن القاعة الكبرى ستبقى هادئة للقراءة، فيما تخصص الغرفة المطلة على البحر لحكايات الأطفال \
                     يومي الأحد والأربعاء. وأضافت أن المكتبة تلقت مئتي كتاب هدية من عائلة بحار متقاعد.",
                    "وتضم المكتبة نحو تسعة آلاف كتاب، أقدمها أطلس رسمت فيه سواحل المدينة قبل مئة وعشرين عاما.",
                ],
            },
        ],
    },
    Article {
        slug: "ferry-fares",
        language: "en",
        section: "Town",
        author: "Mara Quill",
        editions: &[Edition {
            title: "Island ferry said to cost more from Monday",
            paragraphs: &[
                "The ferry to Qamar Island will cost two coins more from Monday, a notice at the landing said this morning. Regular \
                 passengers were surprised, since the fares had been fixed until next summer.",
                "The notice carried no name. The shipping office was closed for the holiday and could not be reached by telephone before \
                 this page was printed.",
                "Children and bicycles would travel as before, according to the notice, and the first boat would still leave at six.",
            ],
        }],
    },
    Article {
        slug: "fariq-al-marsa",
        language: "ar",
        section: "رياضة",
        author: "ياسر الخطيب",
        editions: &[Edition {
            title: "فريق المرسى يفوز بثلاثة أهداف على ضيفه",
            paragraphs: &[
                "فاز فريق المرسى لكرة القدم على ضيفه فريق التلال بثلاثة أهداف لهدف في مباراة أقيمت على ملعب البلدية أمام ألف ومئتي متفرج.",
                "وسجل المهاجم كريم الزين هدفين في الشوط الأول، أحدهما برأسه بعد ركلة ركنية، قبل أن يقلص الضيوف الفارق من ركلة جزاء. وختم \
                 اللاعب الشاب نادر فواز النتيجة قبل النهاية بدقيقتين.",
                "وقال المدرب إن لاعبيه تدربوا طوال الشهر على الكرات العالية بسبب الرياح التي تهب على الملعب من جهة البحر. ويلتقي الفريق \
                 الأسبوع المقبل مع متصدر الدوري.",
            ],
        }],
    },
    Article {
        slug: "storm-warning",
        language: "en",
        section: "Weather",
        author: "Nadia Rahal",
        editions: &[
            Edition {
                title: "Strong winds expected on the coast tonight",
                paragraphs: &[
                    "The weather service expects gusts of up to forty knots on the coast between Marsa Qamar and Cape Sand tonight. Small \
                     boats should stay in the harbour until tomorrow noon.",
                    "Rain will follow after midnight, most of it in the hills. The service does not expect floods, but the road along the \
                     dry river will be closed as a precaution from ten in the evening.",
                    "Tomorrow will be cool and bright, with a light wind from the north-west and a temperature of sixteen degrees.",
                ],
            },
            Edition {
                title: "Winds on the coast weaker than expected",
                paragraphs: &[
                    "The wind that the weather service expected between Marsa Qamar and Cape Sand has stayed further out at sea. Gusts \
                     reached twenty-five knots at the outer pier; small boats may leave the harbour from sunrise.",
                    "Some rain is still to come in the hills after midnight. The road along the dry river is open again.",
                    "Tomorrow will be cool and bright, with a light wind from the north-west and a temperature of sixteen degrees.",
                ],
            },
        ],
    },
    Article {
        slug: "suq-al-samak",
        language: "ar",
        section: "اقتصاد",
        author: "ليلى درويش",
        editions: &[Edition {
            title: "أسعار السمك تنخفض بعد أسبوع من الصيد الوفير",
            paragraphs: &[
                "انخفضت أسعار السردين في سوق السمك بمرسى قمر إلى نصف ما كانت عليه مطلع الشهر، بعد أسبوع عاد فيه معظم القوارب بشباك ممتلئة.",
                "وقال البائع أبو سالم إن الناس يشترون الآن بالصندوق لا بالكيلوغرام، وإن مصنع التعليب الصغير قرب الجسر بدأ يعمل في ورديتين. \
                 ويتوقع صيادون أن يستمر الموسم أسبوعين آخرين إذا بقي البحر هادئا.",
                "وتجري البلدية في الأثناء إصلاحات في أرضية السوق، فنُقلت عشرة أكشاك مؤقتا إلى الساحة المجاورة.",
            ],
        }],
    },
    Article {
        slug: "school-garden",
        language: "en",
        section: "Town",
        author: "Mara Quill",
        editions: &[Edition {
            title: "School garden feeds its own kitchen for the first time",
            paragraphs: &[
                "The pupils of the Hill School in Marsa Qamar ate soup from their own garden on Thursday. They had planted lentils, carrots \
                 and onions in February on a strip of land where the old bus shed used to stand.",
                "Two classes share the work. Every child looks after one row for a month and then hands it on with written advice. The best \
                 advice so far, the teachers agree, was to \"talk less and water more\".",
                "What the kitchen does not need is sold on Saturdays at the gate. The money goes to a roof for the rain barrels.",
            ],
        }],
    },
    Article {
        slug: "taawim-al-safina",
        language: "ar",
        section: "الميناء",
        author: "ياسر الخطيب",
        editions: &[Edition {
            title: "تأجيل تعويم سفينة الشحن العالقة إلى الغد",
            paragraphs: &[
                "أجلت سلطة الميناء تعويم سفينة الشحن الصغيرة العالقة قرب الرصيف الشرقي إلى صباح الغد، في انتظار مد أعلى ووصول قاطرة ثانية.",
                "ولم يصب أحد من أفراد الطاقم التسعة بأذى، ولم يتسرب وقود إلى الماء، بحسب بيان مقتضب. وكانت السفينة قد خرجت عن مسارها عند \
                 الفجر بسبب عطل في الدفة.",
                "وتبقى حركة العبارات كما هي، أما قوارب الصيد فعليها أن تستعمل المدخل الغربي وحده حتى إشعار آخر.",
            ],
        }],
    },
    Article {
        slug: "night-train",
        language: "en",
        section: "Region",
        author: "Nadia Rahal",
        editions: &[Edition {
            title: "Night train to the capital returns after nine years",
            paragraphs: &[
                "From the first of next month a night train will again connect Marsa Qamar with the capital. It leaves at half past ten in \
                 the evening and arrives at seven, with four stops on the way and a carriage for bicycles.",
                "The line was given up nine years ago, when the bridge over the dry river had to be closed. The new bridge is thirty metres \
                 longer and stands, as its builders like to say, on the only rock for miles.",
                "Tickets are sold from Sunday. The railway expects that half of the travellers will be students.",
            ],
        }],
    },
    Article {
        slug: "maarad-al-suwar",
        language: "ar",
        section: "ثقافة",
        author: "هالة منصور",
        editions: &[Edition {
            title: "معرض صور يروي حكاية بناة القوارب",
            paragraphs: &[
                "افتتح في بيت الجمرك القديم معرض يضم ستين صورة لبناة القوارب في مرسى قمر، التقطتها المصورة رنا العطار على مدى أربع سنوات.",
                "وتظهر في الصور أيد تثني الخشب فوق البخار، وأطفال يجمعون النشارة، وقارب وحيد يستغرق بناؤه شتاء كاملا. ولم يبق في المدينة سوى \
                 ثلاث ورش من أصل سبع عشرة كانت تعمل قبل نصف قرن.",
                "ويستمر المعرض حتى نهاية الشهر، والدخول إليه مجاني. ويشرح النجارون أنفسهم صورهم للزوار مساء كل خميس.",
            ],
        }],
    },
    Article {
        slug: "chess-in-the-park",
        language: "en",
        section: "Sport",
        author: "Tom Ellery",
        editions: &[Edition {
            title: "Eleven-year-old wins the open chess day in Lime Park",
            paragraphs: &[
                "Eleven-year-old Dina Farouk has won the open chess day in Lime Park. She beat her own teacher in the last round with a quiet \
                 pawn move that most of the two hundred spectators understood only when it was too late.",
                "Ninety players had come, the oldest of them eighty-eight. The town had put thirty stone tables under the trees, and the \
                 bakery sent a cake in the shape of a rook, of which nothing was left by noon.",
                "Asked what she would do with the prize, a clock, Dina said that she would give it to the school, \"because there people \
                 think too long\".",
            ],
        }],
    },
    Article {
        slug: "shabakat-al-miyah",
        language: "ar",
        section: "المدينة",
        author: "ليلى درويش",
        editions: &[Edition {
            title: "البلدية تجدد شبكة المياه في حي البساتين",
            paragraphs: &[
                "تبدأ بلدية مرسى قمر يوم السبت تجديد شبكة المياه في حي البساتين، حيث يعود بعض الأنابيب إلى أكثر من ستين عاما.",
                "وتُنفذ الأعمال شارعا بعد شارع كي لا ينقطع الماء عن أي بيت أكثر من ست ساعات، وتوزع البلدية مواعيد الانقطاع على السكان قبل \
                 يومين. وتقف صهاريج ماء عند المدرسة والمستوصف طوال مدة العمل.",
                "وقالت المهندسة المشرفة جمانة حداد إن الشبكة الجديدة ستوفر خُمس الماء الذي يضيع اليوم في التسرب، وإن العمل ينتهي قبل الصيف.",
            ],
        }],
    },
];
