package feed

import (
	"strings"
	"testing"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
)

// nameRows are names with their verdicts: "" accepts. The names are real ones
// or attacks seen in the wild.
var nameRows = map[Code][]string{
	"": {
		"Admin", "José", "Zoë", "Łukasz", "Nguyễn Thị Ánh", "O'Connor", "O’Brien", "Jean-Paul", "M. Diallo", "Fatou_75", "Collectif 75",
		"Sœurs & amies", "Asso (Lyon)", "Oui/Non", "A", "Ñandú", "Ærø", "Ibrahim B.", "L·L", "Ţepeş", "Ağaoğlu", "İrem", "Ɓalde",
		"Ŋaɓi", "Kɔfi", "Ọlá", "Ẹ̀kọ́", "Mo'min", "Fatima Zahra", "x1", "1 Voix", "Été 2026",
		"أمينة", "محمد علي", "عبد الرحمن", "فاطمة الزهراء", "سارة٢", "می\u200cنا", "نیما", "رضا ۱۲", "گلناز", "ڈاکٹر", "پښتو", "کوردستان", "مُحَمَّد", "إبراهيم",
		"ኣማኒኤል", "ሰላም", "ኤርትራ", "ትርሓስ ገብረ", "አበበ", "ሰላም 7", "ანა",
		"Анна", "Юлія", "Їжак", "Ўладзімір", "Ђорђе", "Қайрат", "Өлжас", "Анна-Мария", "Щука",
		"Αθηνά", "Νίκος", "Ελένη", "Արմեն", "Անի", "דוד", "שָׁלוֹם", "ז׳קלין", "תל־אביב",
		"李明", "王小明", "さくら", "サクラ", "山田はな", "山田Hana", "タナカAI", "김민준", "김Min", "金민준", "ㄅㄆ", "李ㄅ", "Lee李",
		"สมชาย", "น้ำ", "ລາວ", "မြန်မာ", "ខ្មែរ", "राम", "रमा", "प्रिया", "রহিম", "ਗੁਰਪ੍ਰੀਤ", "ગીતા", "தமிழ்", "తెలుగు", "ಕನ್ನಡ", "മലയാളം", "සුනිල්",
		"བཀྲ", "ⴰⵎⵉⵏⴰ", "ߊߡߌ", "ꦗꦮ", "Ꮳꮃꭹ", "ᐃᓄᒃ", "ᠮᠣᠩᠭᠣᠯ",
		strings.Repeat("a", 32), strings.Repeat("ሀ", 32),
	},
	NameEmpty:    {""},
	NameLong:     {strings.Repeat("a", 33), strings.Repeat("ሀ", 33), strings.Repeat("a", 10_000), strings.Repeat("𞤀", 33)},
	NameEncoding: {"\xff", "a\xc3", "\xed\xa0\x80", "Jose\u0301", "A\u030a", "\u212b", "\u1100\u1161", "\u0627\u0653", "\u2126", "q\u0307\u0323"},
	NameSpaces:   {" Admin", "Admin ", "Ad  min", "a\u00a0b", "a\u2003b", "a\u3000b", "\u2009a", "a\u202fb", " "},
	NameHidden: {
		"Ad\u200bmin", "Ad\u200cmin", "Ad\u200dmin", "Ad\u2060min", "\ufeffAdmin", "Ad\u00admin", "Admin\u202e", "\u202dAdmin", "\u202aA\u202c",
		"\u2066A\u2069", "\u200eAdmin", "Admin\u200f", "\u061cأمينة", "A\x00", "A\nB", "A\tB", "A\x7f", "A\u0085B", "A\u2028B", "A\u2029B", "A\u180eB",
		"Admin\U000e0041", "A\ufe0f", "A\U000e0100", "ㅤ", "A\u3164", "A\u115fB", "A\u034fB", "A\u17b4B", "⠀", "A\ue000", "A\U000f0000", "A\uffff", "A\U0001ffff",
		"\u200cمینا", "مینا\u200c", "می\u200cna", "می\u200c\u200cنا", "می\u200dنا", "a\u200cب", "A\u0378B", "A\ufff9B", "A\U0001d173B",
	},
	NameCharacter: {
		"Admin✅", "⭐Admin", "Admin🛡", "😀", "@admin", "#admin", "a:b", "a;b", "a!b", "a?b", "a\"b", "<b>", "a=b", "a|b", "a\\b", "a*b", "a%b", "a$b", "€", "a~b", "a`b", "a^b",
		"Ａdmin", "𝐀dmin", "𝓐𝓭𝓶𝓲𝓷", "ⓐdmin", "ﬁn", "ª", "Aº", "ⅷ", "½", "A²", "ﷺ", "ﻣﺤﻤﺪ", "ǆ", "Admin™", "…", "a—b", "a–b", "«a»", "a‐b", "ⅼ", "㍿", "ｶﾅ", "A①", "{a}", "[a]", "a←b", "a¬b",
	},
	NameMarks:   {"\u0301a", "a \u0301b", "Z\u0316\u0317\u0318\u0319a", "1\u0331", "-\u0301", "x\u0316\u0317\u0318\u0319\u031c"},
	NameDigits:  {"a1٢", "سارة٢2", "رضا ۱٢", "a1\u0967", "४4a"},
	NameLetters: {"123", "-", "'", "...", "2026", "٢٣", "(1)", "·", "18+"},
	NameScripts: {
		"Аdmin", "Αdmin", "Admіn", "аdmin", "Adмin", "Annа", "Оlga", "Jоsé", "Աdmin", "aب", "Ali علي", "Анна Anna", "ΑАA", "Кατ", "ሰa", "さカ김", "ㄅあ",
		"김さ", "김ㄅ", "李Анна", "рауpal", "раypal", "Ꭺdmin", "דa", "सa", "สa", "ߊa", "ⴰa", "Αнна",
	},
}

func TestNames(t *testing.T) {
	n := 0
	for code, names := range nameRows {
		for _, name := range names {
			n++
			if err := CheckName(name); CodeOf(err) != code || (err == nil) != (code == "") {
				t.Errorf("%q (%+q): %v, want %q", name, name, err, code)
			}
		}
	}
	if n < 200 {
		t.Fatalf("only %d names", n)
	}
}

func TestCleanName(t *testing.T) {
	if got := CleanName(" Jose\u0301\n"); got != "José" || CheckName(got) != nil {
		t.Errorf("%q", got)
	}
	if got := CleanName("A\u200bB"); got != "A\u200bB" {
		t.Error("what is hidden was removed in silence")
	}
}

func TestLookalikes(t *testing.T) {
	for _, pair := range [][2]string{
		{"Admin", "Аdmin"}, {"Admin", "Αdmin"}, {"Admin", "ADMIN"}, {"Admin", "Adrnin"}, {"Admin", "Adm1n"}, {"Admin", "Admín"}, {"Admin", "Adm in"}, {"Admin", "Ad_min"},
		{"Ace", "Асе"}, {"HATA", "НАТА"}, {"NATA", "ΝΑΤΑ"}, {"Tom", "Тоm"}, {"Ali", "AlI"}, {"All", "AlI"}, {"Zoe", "Zoë"}, {"Olga", "0lga"}, {"Koko", "Κοκο"},
		{"wanda", "vvanda"}, {"محمد", "مُحَمَّد"}, {"محمد", "محـمد"}, {"علي", "علی"}, {"كريم", "کریم"}, {"أمينة", "امينة"}, {"مینا", "می\u200cنا"}, {"ΝΙΚΟΣ", "Νίκος"},
		{"Анна", "АННА"}, {"Paypal", "Раураl"}, {"Soso", "5oso"}, {"Uno", "Սոօ"},
	} {
		if a, b := Skeleton(pair[0]), Skeleton(pair[1]); a != b || a == "" {
			t.Errorf("%q and %q: %q, %q", pair[0], pair[1], a, b)
		}
	}
	for _, pair := range [][2]string{
		{"Amina", "Amine"}, {"Ana", "Ania"}, {"राम", "रमा"}, {"Анна", "Инна"}, {"علي", "عالي"}, {"李明", "李朋"}, {"ሰላም", "ሰላማ"}, {"Ram", "Rama"}, {"Νίκος", "Νίκη"}, {"Tomas", "Tamas"},
	} {
		if Skeleton(pair[0]) == Skeleton(pair[1]) {
			t.Errorf("%q and %q are taken for the same", pair[0], pair[1])
		}
	}
	got := Lookalikes([]string{"Ana", "Admin", "Zoe", "Аdmin", "Zoë", "ADMIN"})
	if len(got) != 2 || len(got[0]) != 3 || got[0][0] != 1 || got[0][2] != 5 || len(got[1]) != 2 || got[1][0] != 2 {
		t.Error(got)
	}
	for r, to := range alike {
		if next, ok := alike[to]; ok && next != to {
			t.Errorf("%q leads to %q, which leads on", r, to)
		}
	}
}

// A name that is accepted has something to compare.
func TestSkeletonOfAllRows(t *testing.T) {
	for _, name := range nameRows[""] {
		if Skeleton(name) == "" {
			t.Errorf("%q has an empty skeleton", name)
		}
	}
}

func TestNamesInForce(t *testing.T) {
	card := func(name string, by identity.MemberID, text string, version uint64) Item {
		return item(t, name, protocol.TypeGroupCard, by, GroupCard{Name: text, Version: version})
	}
	profile := func(name string, by identity.MemberID, text string, version uint64) Item {
		return item(t, name, protocol.TypeProfile, by, Profile{Name: text, Version: version})
	}
	folded := profile("p4", amina, "Ancienne", 9)
	folded.Standing = Folded
	items := []Item{
		card("g1", bashir, "Collectif", 1), card("g2", bashir, "Collectif 75", 2), card("g3", carlos, "Piège", 9),
		profile("p1", amina, "Amina", 1), folded,
	}
	permute(items, func(order []Item) {
		s := holding(t, order...)
		group, _ := s.GroupName()
		name, _ := s.Name(amina)
		if group != "Collectif 75" || name != "Amina" {
			t.Fatal(group, name)
		}
	})
	s := holding(t, append(items, profile("p2", amina, "Admin", 2), profile("q", carlos, "АДМИН", 1), profile("r", bashir, "ADMlN", 1))...)
	names := s.Names()
	if len(names) != 3 || names[0].Member != amina || names[0].Name != "Admin" || len(names[0].Alike) != 1 || names[0].Alike[0] != bashir || len(names[2].Alike) != 0 {
		t.Fatalf("%+v", names)
	}
	if len(s.Newest()) != 4 {
		t.Fatal(len(s.Newest()))
	}
	// Names in force outlive their expiry, those replaced do not.
	if gone := s.Expire(t0 + 365*day); len(gone) != 4 {
		t.Fatalf("%d shredded", len(gone))
	}
	if group, _ := s.GroupName(); group != "Collectif 75" || len(s.Names()) != 3 {
		t.Fatal("a name in force was shredded")
	}
	d, err := s.NewGroupCard(" Collectif 93 ", t0)
	if err != nil {
		t.Fatal(err)
	}
	if c, err := DecodeGroupCard(d.Payload); err != nil || c.Version != 3 || c.Name != "Collectif 93" {
		t.Fatal(c, err)
	}
	if d, err = s.NewProfile(amina, "Amina", t0); err != nil {
		t.Fatal(err)
	}
	if p, err := DecodeProfile(d.Payload); err != nil || p.Version != 3 {
		t.Fatal(p, err)
	}
	if _, err := s.NewProfile(amina, "Аdmin", t0); CodeOf(err) != NameScripts {
		t.Error(err)
	}
	// Two devices, one number: the smaller hash holds, in every order.
	a, b := profile("x", amina, "Un", 5), profile("y", amina, "Deux", 5)
	one, _ := holding(t, a, b).Name(amina)
	two, _ := holding(t, b, a).Name(amina)
	if one != two {
		t.Error(one, two)
	}
}
