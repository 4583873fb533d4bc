package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// print writes a result: as JSON if that was asked for, else as people says it.
func (f *face) print(result any, people func()) error {
	if f.json {
		return writeJSON(f.out, result)
	}
	people()
	return nil
}

// tell prints one sentence. Pairs may hold what came from others.
func (f *face) tell(key string, pairs ...string) {
	for i := 1; i < len(pairs); i += 2 {
		pairs[i] = line(pairs[i])
	}
	fmt.Fprintln(f.out, f.say(key, pairs...))
}

// writeJSON writes one document and a newline. Signs that a terminal could obey
// are written as escapes; the document means the same.
func writeJSON(w io.Writer, v any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	doc := bytes.TrimSuffix(b.Bytes(), []byte("\n"))
	var out strings.Builder
	for len(doc) > 0 {
		r, n := utf8.DecodeRune(doc)
		switch {
		case !hidden(r):
			out.Write(doc[:n])
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&out, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&out, `\u%04x`, r)
		}
		doc = doc[n:]
	}
	out.WriteByte('\n')
	if _, err := io.WriteString(w, out.String()); err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	return nil
}

// minShort is the fewest digits of an id that a list shows.
const minShort = 8

// shorten cuts ids to the same length, long enough that each can be typed back:
// no two of the list begin alike.
func shorten(ids []string) []string {
	digits := minShort
	for seen := map[string]bool{}; ; clear(seen) {
		for _, id := range ids {
			seen[id[:min(digits, len(id))]] = true
		}
		if len(seen) == len(ids) || digits >= 64 {
			break
		}
		digits++
	}
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = line(id[:min(digits, len(id))])
	}
	return out
}

// table prints rows with their columns in line. Only the last column may hold
// free text: letters that read from the right would turn what follows them.
func (f *face) table(rows [][]string) {
	var width []int
	for _, row := range rows {
		for i, cell := range row[:max(len(row)-1, 0)] {
			if i == len(width) {
				width = append(width, 0)
			}
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range rows {
		for i, cell := range row {
			if i < len(row)-1 {
				cell += strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell)+2)
			}
			fmt.Fprint(f.out, cell)
		}
		fmt.Fprintln(f.out)
	}
}
