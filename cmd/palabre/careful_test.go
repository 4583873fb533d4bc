package main

import (
	"testing"

	"github.com/palabre-app/palabre/node/api"
)

// Switches that do not go together are refused before anything is opened, and with
// --careful alone a phone is nowhere.
func TestRunWithCare(t *testing.T) {
	t.Parallel()
	dir := place(t)
	awa := someone(t, dir, "Awa")
	before := files(t, awa.dir)
	for _, c := range []struct {
		code string
		args []string
	}{
		{api.CodeCarefulListens, []string{"run", "--careful", "--listen", onTCP}},
		{api.CodeLANWouldTell, []string{"run", "--careful", "--lan"}},
		{api.CodeLANWouldTell, []string{"run", "--lan", "--proxy", "127.0.0.1:9050"}},
	} {
		if e := awa.try(t, c.args...).fault(t); e.Code != c.code {
			t.Errorf("%v: %+v", c.args, e)
		}
	}
	same(t, "the profile", before, files(t, awa.dir))
	must(t, awa.onWith("--careful"))
	if len(awa.addrs) != 0 {
		t.Errorf("it is at %q", awa.addrs)
	}
	if e := awa.try(t, "connect", "/ip4/192.0.2.1/tcp/4001").fault(t); e.Code != api.CodeCareful {
		t.Errorf("%+v", e)
	}
	must(t, awa.off())
}
