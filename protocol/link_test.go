package protocol

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/palabre-app/palabre/identity/label"
	"github.com/palabre-app/palabre/protocol/wire"
)

func someLink() Link {
	return Link{Version: Version, Group: GroupID{1}, Inviter: [32]byte{2}, Card: [32]byte{3},
		Secret:  [16]byte{0x83, 0xa8, 0xcd, 0xf2, 0x97, 0xbc, 0xe1, 0x86, 0xab, 0xd0, 0xf5, 0x9a, 0xbf, 0xe4, 0x89, 0xae},
		Expires: 1_800_000_000, Uses: 1, Addresses: []string{"/ip4/192.0.2.1/tcp/4001", "/ip4/192.0.2.1/udp/4001/quic-v1"}, Ferries: []string{}}
}

func TestLinkRoundTrip(t *testing.T) {
	want := someLink()
	text := want.Text()
	for _, s := range []string{text, "  " + text + "\r\n"} {
		if got, err := ParseLink(s); err != nil || !reflect.DeepEqual(got, want) || got.Text() != text {
			t.Fatalf("%q: %v", s, err)
		}
	}
	if !strings.HasPrefix(text, "palabre://join#") {
		t.Errorf("the link is %q", text)
	}
	ref := label.Ref(label.Invite, want.Card[:])
	if id := want.ID(); !bytes.Equal(id[:], ref[:16]) {
		t.Error("the invite id is not of the card's key")
	}
}

// TestFullestLinkFits: whatever is within the bounds can be read again.
func TestFullestLinkFits(t *testing.T) {
	l := someLink()
	l.Expires, l.Uses = math.MaxInt64, math.MaxUint16
	long := strings.Repeat("a", MaxAddress)
	l.Addresses, l.Ferries = []string{long, long, long, long}, []string{strings.Repeat("a", MaxFerry), strings.Repeat("b", MaxFerry)}
	text := l.Text()
	if len(text) != MaxLink {
		t.Errorf("the fullest link has %d characters, the Max is %d", len(text), MaxLink)
	}
	if got, err := ParseLink(text + "\n"); err != nil || !reflect.DeepEqual(got, l) {
		t.Error(err)
	}
	if _, err := ParseLink(text + "A"); err != ErrLink {
		t.Errorf("a character more: %v", err)
	}
}

// TestEveryCharacterOfALinkCounts puts each other character in each place.
func TestEveryCharacterOfALinkCounts(t *testing.T) {
	text := someLink().Text()
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=+/ \n.#\x00\xff"
	for i := range text {
		for _, c := range []byte(alphabet) {
			if text[i] == c {
				continue
			}
			bad := text[:i] + string([]byte{c}) + text[i+1:]
			if _, err := ParseLink(bad); err != ErrLink {
				t.Fatalf("character %d changed to %q: %v", i, c, err)
			}
		}
		if _, err := ParseLink(text[:i]); err != ErrLink {
			t.Fatalf("cut after %d characters: %v", i, err)
		}
		if _, err := ParseLink(text[:i] + text[i+1:]); err != ErrLink {
			t.Fatalf("character %d left out: %v", i, err)
		}
	}
}

// checked is a link text whose check holds, whatever is in it.
func checked(b []byte) string {
	ref := label.Ref(label.Link, b)
	return linkPrefix + base64.RawURLEncoding.EncodeToString(append(bytes.Clone(b), ref[:linkCheck]...))
}

func TestLinkBounds(t *testing.T) {
	if _, err := ParseLink(checked(wire.Marshal(someLink()))); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Link){
		"version":            func(l *Link) { l.Version = 2 },
		"no uses":            func(l *Link) { l.Uses = 0 },
		"no expiry":          func(l *Link) { l.Expires = 0 },
		"negative expiry":    func(l *Link) { l.Expires = -1 },
		"too many addresses": func(l *Link) { l.Addresses = []string{"a", "b", "c", "d", "e"} },
		"too many ferries":   func(l *Link) { l.Ferries = []string{"a", "b", "c"} },
		"empty address":      func(l *Link) { l.Addresses = []string{""} },
		"long address":       func(l *Link) { l.Addresses = []string{strings.Repeat("a", MaxAddress+1)} },
		"long ferry":         func(l *Link) { l.Ferries = []string{strings.Repeat("a", MaxFerry+1)} },
	} {
		l := someLink()
		change(&l)
		if _, err := ParseLink(checked(wire.Marshal(l))); err != ErrLink {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, s := range map[string]string{
		"nothing": "", "prefix alone": linkPrefix, "check alone": checked(nil), "other prefix": "palabre://link#" + someLink().Text()[len(linkPrefix):],
		"padded base64": someLink().Text() + "=", "trailing byte": checked(append(wire.Marshal(someLink()), 0)),
		"null list": checked(append(wire.Marshal(someLink())[:len(wire.Marshal(someLink()))-1], 0xf6)),
		"huge":      linkPrefix + strings.Repeat("A", 1<<20),
	} {
		if _, err := ParseLink(s); err != ErrLink {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLinkIsNotPrinted(t *testing.T) {
	l := someLink()
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("m", "link", l, "links", []Link{l})
	slog.New(slog.NewJSONHandler(&log, nil)).Info("m", "link", l, "links", []Link{l}, "pointer", &l)
	outs := []string{log.String()}
	for _, v := range []any{l, &l, []Link{l}, map[string]Link{"a": l}, struct{ L Link }{l}} {
		j, err := json.Marshal(v)
		if err == nil {
			t.Errorf("%T was encoded as JSON", v)
		}
		outs = append(outs, string(j))
		for _, verb := range "vdsxXqboUct" {
			outs = append(outs, fmt.Sprintf("%"+string(verb), v), fmt.Sprintf("%+"+string(verb), v), fmt.Sprintf("%#"+string(verb), v))
		}
	}
	decimal := fmt.Sprint(l.Secret[:3])
	for _, out := range outs {
		for _, needle := range []string{
			hex.EncodeToString(l.Secret[:3]), strings.ToUpper(hex.EncodeToString(l.Secret[:3])), string(l.Secret[:3]),
			decimal[1 : len(decimal)-1], "131,168,205", "0x83, 0xa8", "203 250 315", "10000011 10101000", l.Text()[40:60],
		} {
			if strings.Contains(out, needle) {
				t.Fatalf("the secret is shown: %s", out)
			}
		}
	}
}

func FuzzLink(f *testing.F) {
	f.Add(wire.Marshal(someLink()), true)
	f.Add([]byte(someLink().Text()), false)
	f.Fuzz(func(t *testing.T, b []byte, encoded bool) {
		text := string(b)
		if encoded {
			text = checked(b)
		}
		l, err := ParseLink(text)
		if err != nil {
			if err != ErrLink {
				t.Fatal(err)
			}
			return
		}
		// Space around a link and line breaks inside come from e-mail.
		plain := strings.NewReplacer("\r", "", "\n", "").Replace(strings.TrimSpace(text))
		if l.Text() != plain || !bytes.Equal(wire.Marshal(l), b) && encoded {
			t.Fatal("what parses does not encode to the same text")
		}
	})
}
