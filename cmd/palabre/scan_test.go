package main

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"strings"
	"testing"
	"unicode/utf16"
)

// canaries are strings that must not be found anywhere, by what they are.
type canaries map[string][]byte

// forms returns the byte strings under which a text may stand in a file or on
// the wire: as it is, in UTF-16, hex and base64 at each of its three offsets.
func forms(text []byte) [][]byte {
	all := [][]byte{text, []byte(hex.EncodeToString(text)), []byte(strings.ToUpper(hex.EncodeToString(text)))}
	if wide := utf16.Encode([]rune(string(text))); string(utf16.Decode(wide)) == string(text) {
		for _, order := range []binary.AppendByteOrder{binary.LittleEndian, binary.BigEndian} {
			var b []byte
			for _, u := range wide {
				b = order.AppendUint16(b, u)
			}
			all = append(all, b)
		}
	}
	for offset := range 3 {
		padded := append(make([]byte, offset), text...)
		// Only the characters that the text alone decides.
		from, to := (offset*8+5)/6, len(padded)*8/6
		for _, e := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding} {
			all = append(all, []byte(e.EncodeToString(padded)[from:to]))
		}
	}
	return all
}

// find returns what of the canaries stands in b, in any form.
func (c canaries) find(b []byte) []string {
	var found []string
	for what, text := range c {
		for _, form := range forms(text) {
			if bytes.Contains(b, form) {
				found = append(found, what)
				break
			}
		}
	}
	return found
}

// absent fails the test for each canary in b.
func (c canaries) absent(t *testing.T, where string, b []byte) {
	t.Helper()
	for _, what := range c.find(b) {
		t.Errorf("%s: holds the %s", where, what)
	}
}

// absentUnder scans all files under a folder, and their names, except those
// whose content is meant to be there.
func (c canaries) absentUnder(t *testing.T, when, dir string, except ...string) {
	t.Helper()
	all := files(t, dir)
	for _, path := range except {
		delete(all, path)
	}
	if len(all) == 0 {
		t.Errorf("%s: no file to scan under %s", when, dir)
	}
	for path, b := range all {
		c.absent(t, when+": "+path, b)
		c.absent(t, when+": the name of "+path, []byte(strings.TrimPrefix(path, dir)))
	}
}

// The scan itself finds a text in each form, wherever it stands.
func TestScanFindsEachForm(t *testing.T) {
	t.Parallel()
	text := "qxzvkplmnbrtwqszdfg"
	c := canaries{"text": []byte(text)}
	for i, form := range forms([]byte(text)) {
		if got := c.find(append(append([]byte("before "), form...), " after"...)); len(got) != 1 {
			t.Errorf("form %d is not found: %q", i, form)
		}
	}
	for offset := range 5 {
		whole := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("#", offset) + text + "##"))
		if got := c.find([]byte(whole)); len(got) != 1 {
			t.Errorf("base64 at offset %d is not found", offset)
		}
	}
	if got := c.find([]byte(strings.ToUpper(text) + text[1:])); len(got) != 0 {
		t.Errorf("found %v where it is not", got)
	}
}
