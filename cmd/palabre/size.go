package main

import (
	"errors"
	"strconv"
	"strings"
)

// size is a number of bytes on the command line: a whole number with a unit, as in
// 500MiB or 10GiB. Units are MiB, GiB and TiB.
type size int64

// The least and the most that a letter carrier may be given.
const (
	minSize = 64 << 20
	maxSize = 1 << 50
)

var errSize = errors.New("write a size as 500MiB or 10GiB, from 64MiB on")

var sizeUnits = []struct {
	name  string
	bytes int64
}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}}

// Set reads a size.
func (s *size) Set(typed string) error {
	for _, u := range sizeUnits {
		digits, ok := strings.CutSuffix(typed, u.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(digits, 10, 31)
		if err != nil || int64(n) > maxSize/u.bytes || int64(n)*u.bytes < minSize {
			return errSize
		}
		*s = size(int64(n) * u.bytes)
		return nil
	}
	return errSize
}

// String writes it as people type it, or nothing for none.
func (s *size) String() string {
	for _, u := range sizeUnits {
		if n := int64(*s); n > 0 && n%u.bytes == 0 {
			return strconv.FormatInt(n/u.bytes, 10) + u.name
		}
	}
	return ""
}

// Type names the value in the help text.
func (s *size) Type() string { return "SIZE" }
