//go:build unix

package api

import "testing"

func TestAllowedIsThisUserOnly(t *testing.T) {
	for _, c := range []struct {
		uid  uint32
		mine int
		want bool
	}{{1000, 1000, true}, {0, 0, true}, {1001, 1000, false}, {0, 1000, false}, {1000, 0, false}, {1<<32 - 1, -1, false}} {
		if allowed(c.uid, c.mine) != c.want {
			t.Errorf("user %d at a socket of %d: %v", c.uid, c.mine, !c.want)
		}
	}
}
