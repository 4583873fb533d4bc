package main

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"time"
)

// span is a length of time on the command line: one or more whole numbers with a
// unit, as in 7d, 72h or 1d12h. Units are d, h, m and s.
type span time.Duration

// maxSpan keeps every later sum far from overflow.
const maxSpan = 100 * 366 * 24 * time.Hour

var errSpan = errors.New("write a time as 72h or 7d")

// Set reads a span; it must be above zero.
func (s *span) Set(typed string) error {
	units := map[byte]time.Duration{'d': 24 * time.Hour, 'h': time.Hour, 'm': time.Minute, 's': time.Second}
	var total time.Duration
	last := time.Duration(math.MaxInt64)
	for rest := typed; rest != ""; {
		n := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
		if n < 1 {
			return errSpan
		}
		count, err := strconv.ParseInt(rest[:n], 10, 64)
		unit := units[rest[n]]
		// Each unit once, the largest first.
		if err != nil || unit == 0 || unit >= last || count > int64(maxSpan/unit) {
			return errSpan
		}
		total, last, rest = total+time.Duration(count)*unit, unit, rest[n+1:]
	}
	if total <= 0 || total > maxSpan {
		return errSpan
	}
	*s = span(total)
	return nil
}

// String writes it as people type it, or nothing for none.
func (s *span) String() string {
	d := time.Duration(*s)
	if d%(24*time.Hour) == 0 && d > 72*time.Hour {
		return strconv.FormatInt(int64(d/(24*time.Hour)), 10) + "d"
	}
	var b strings.Builder
	for _, u := range []struct {
		unit time.Duration
		name string
	}{{time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}} {
		if n := d / u.unit; n > 0 {
			b.WriteString(strconv.FormatInt(int64(n), 10) + u.name)
			d -= n * u.unit
		}
	}
	return b.String()
}

// Type names the value in the help text.
func (s *span) Type() string { return "TIME" }

// seconds returns the span in seconds.
func (s span) seconds() int64 { return int64(time.Duration(s) / time.Second) }

// instant reads a time as RFC 3339 and returns it in UTC, so that every program
// behind sees one form.
func instant(flag, typed string) (string, error) {
	t, err := time.Parse(time.RFC3339, typed)
	if err != nil {
		return "", usage("--" + flag + ": write the time as 2026-12-05T18:30:00+01:00")
	}
	return t.UTC().Format(time.RFC3339), nil
}
