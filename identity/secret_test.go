package identity

import (
	"bytes"
	"encoding/base64"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"github.com/palabre-app/palabre/identity/label"
)

// loud is a seed whose every three bytes in a row are easy to tell in any print.
func loud() (seed [SeedSize]byte) {
	for i := range seed {
		seed[i] = byte(0x83 + 37*i)
	}
	return seed
}

type openHolder struct{ Key any }

type (
	hiddenMember struct{ key MemberKey }
	hiddenDevice struct{ key *DeviceKey }
	hiddenMaster struct{ keys []MasterKey }
	hiddenMap    struct{ keys map[string]MasterKey }
	hiddenAny    struct{ key any }
)

// holders returns every private type, bare and inside what may hold it.
func holders() map[string]any {
	seed := loud()
	m, d, k := MemberKeyFromSeed(seed), DeviceKeyFromSeed(seed), MasterKeyFromBytes(seed)
	return map[string]any{
		"MemberKey": m, "DeviceKey": d, "MasterKey": k, "*MemberKey": &m, "*DeviceKey": &d, "*MasterKey": &k,
		"private": m.private, "secret": k.secret, "*secret": &k.secret,
		"exported field": openHolder{m}, "slice": []MasterKey{k}, "map": map[string]DeviceKey{"a": d},
		"unexported field": hiddenMember{m}, "*unexported field": &hiddenMember{m},
		"pointer in an unexported field": hiddenDevice{&d}, "slice in an unexported field": hiddenMaster{[]MasterKey{k}},
		"map in an unexported field":       hiddenMap{map[string]MasterKey{"a": k}},
		"interface in an unexported field": hiddenAny{&k}, "reflect.Value": reflect.ValueOf(hiddenMember{m}).Field(0),
		"error argument": fmt.Errorf("holding %v: %w", hiddenMember{m}, errors.New("x")),
	}
}

func leaks(out string) bool {
	seed := loud()
	for i := range len(seed) - 2 {
		part := seed[i : i+3]
		decimal := fmt.Sprint(part)
		decimal = decimal[1 : len(decimal)-1]
		for _, needle := range []string{
			string(part), hex.EncodeToString(part), strings.ToUpper(hex.EncodeToString(part)), decimal,
			strings.ReplaceAll(decimal, " ", ","), strings.Trim(fmt.Sprintf("%#v", part), "[]byte{}"),
		} {
			if strings.Contains(out, needle) {
				return true
			}
		}
		for _, verb := range "bcdoOqxXU" {
			array := strings.Trim(fmt.Sprintf("%"+string(verb), [3]uint16{uint16(part[0]), uint16(part[1]), uint16(part[2])}), "[]")
			if strings.Contains(out, array) {
				return true
			}
		}
	}
	return strings.Contains(out, base64.StdEncoding.EncodeToString(seed[:])[:40])
}

func TestNoVerbPrintsAKey(t *testing.T) {
	for name, v := range holders() {
		for _, flag := range []string{"", "+", "#", " ", "0", "-", "40.8"} {
			for _, verb := range "vTtbcdoOqxXUeEfFgGspwz" {
				format := "%" + flag + string(verb)
				if out := fmt.Sprintf(format, v); leaks(out) {
					t.Errorf("%s printed with %s shows the key: %s", name, format, out)
				}
			}
		}
	}
}

func TestLeaksSeesAKey(t *testing.T) {
	seed := loud()
	for _, out := range []string{
		fmt.Sprint(seed), fmt.Sprintf("%x", seed), fmt.Sprintf("%X", seed), fmt.Sprintf("%#v", seed),
		fmt.Sprintf("%d", seed), fmt.Sprintf("%o", seed), fmt.Sprintf("%b", seed), string(seed[:]),
		base64.StdEncoding.EncodeToString(seed[:]), fmt.Sprintf("%q", [32]uint8(seed)),
	} {
		if !leaks(out) {
			t.Errorf("not noticed: %s", out)
		}
	}
}

func TestNoLogShowsAKey(t *testing.T) {
	var out bytes.Buffer
	handlers := []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)}
	for name, v := range holders() {
		for _, h := range handlers {
			out.Reset()
			slog.New(h).With("with", v).Info("holding", "value", v, slog.Group("group", "in", v))
			if leaks(out.String()) {
				t.Errorf("a log line with %s shows the key: %s", name, out.String())
			}
			if out.Len() == 0 {
				t.Error("nothing was logged")
			}
		}
	}
}

func TestNoEncodingHoldsAKey(t *testing.T) {
	for name, v := range holders() {
		if _, bare := v.(json.Marshaler); bare {
			for codec, encode := range map[string]func(any) ([]byte, error){"json": json.Marshal, "cbor": cbor.Marshal, "xml": xml.Marshal} {
				if b, err := encode(v); err == nil {
					t.Errorf("%s was encoded as %s: %q", name, codec, b)
				}
			}
		}
		var stream bytes.Buffer
		_ = gob.NewEncoder(&stream).Encode(v) // most have nothing to send, which is an error
		j, _ := json.Marshal(v)
		c, _ := cbor.Marshal(v)
		x, _ := xml.Marshal(v)
		for _, b := range [][]byte{stream.Bytes(), j, c, x} {
			if leaks(string(b)) {
				t.Errorf("%s was encoded with its key: %q", name, b)
			}
		}
	}
}

func TestPrivateTypesCannotBeCompared(t *testing.T) {
	for _, v := range []any{MemberKey{}, DeviceKey{}, MasterKey{}, private{}, secret{}} {
		if reflect.TypeOf(v).Comparable() {
			t.Errorf("%T can be compared with ==", v)
		}
	}
	a, b := loud(), loud()
	b[31] ^= 1
	if !MasterKeyFromBytes(a).Equal(MasterKeyFromBytes(a)) || MasterKeyFromBytes(a).Equal(MasterKeyFromBytes(b)) ||
		!MemberKeyFromSeed(a).Equal(MemberKeyFromSeed(a)) || MemberKeyFromSeed(a).Equal(MemberKeyFromSeed(b)) ||
		!DeviceKeyFromSeed(a).Equal(DeviceKeyFromSeed(a)) || DeviceKeyFromSeed(a).Equal(DeviceKeyFromSeed(b)) {
		t.Error("Equal is wrong")
	}
	if !(MasterKey{}).IsZero() || !(DeviceKey{}).IsZero() || MemberKeyFromSeed(a).IsZero() {
		t.Error("IsZero is wrong")
	}
}

func TestKeysComeFromTheGivenReader(t *testing.T) {
	seed := loud()
	m, err1 := NewMemberKey(bytes.NewReader(seed[:]))
	d, err2 := NewDeviceKey(bytes.NewReader(seed[:]))
	k, err3 := NewMasterKey(bytes.NewReader(seed[:]))
	if errors.Join(err1, err2, err3) != nil || m.Seed() != seed || d.Seed() != seed || k.Bytes() != seed {
		t.Error("a key is not the bytes that the reader gave")
	}
	if _, err := NewMasterKey(bytes.NewReader(seed[:31])); err == nil {
		t.Error("a key was made of 31 bytes")
	}
	if k.Derive(label.StoreFile, nil) == k.Derive(label.StoreRow, nil) ||
		k.Derive(label.StoreFile, nil) == k.Derive(label.StoreFile, []byte{0}) {
		t.Error("label or context does not change a derived key")
	}
}

func TestSignatureNamesLabelAndContent(t *testing.T) {
	m, d := MemberKeyFromSeed([32]byte{1}), DeviceKeyFromSeed([32]byte{1})
	sig := m.Sign(label.Op, []byte("x"))
	if !m.Public().Verify(label.Op, []byte("x"), sig) {
		t.Fatal("a good signature was refused")
	}
	bad := sig
	bad[63] ^= 0x80 // s no longer below the group order
	if m.Public().Verify(label.Page, []byte("x"), sig) || m.Public().Verify(label.Op, []byte("y"), sig) ||
		m.Public().Verify(label.Op, []byte("x"), bad) || (MemberPublic{2}).Verify(label.Op, []byte("x"), sig) {
		t.Error("a signature holds for what was not signed")
	}
	if a, b := m.Public().ID(), d.Public().ID(); string(a[:]) == string(b[:]) {
		t.Error("a member and a device with one key have one id")
	}
	defer func() {
		if recover() == nil {
			t.Error("signing without a key did not panic")
		}
	}()
	DeviceKey{}.Sign(label.Op, nil)
}
