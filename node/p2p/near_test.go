package p2p

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
)

func (n *node) near() string {
	n.t.Helper()
	port, err := n.ListenNear()
	if err != nil {
		n.t.Fatal(err)
	}
	if port < 49152 {
		n.t.Errorf("the port is %d", port)
	}
	return fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", port)
}

// A host is reached at the port for neighbours, of which it tells nobody. The next
// one takes its place; links stay.
func TestListenNear(t *testing.T) {
	noLeaks(t)
	k := keys(key("k", Member))
	a, b, c := start(t, k), start(t, k), start(t, k)
	before := a.Addrs()
	first := a.near()
	if got := a.Addrs(); !slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(before))) {
		t.Errorf("it tells %q", got)
	}
	link, err := b.DialNear(t.Context(), first)
	if err != nil {
		t.Fatal(err)
	}
	second := a.near()
	if first == second {
		t.Fatal("the same port again")
	}
	if c, err := net.Dial("tcp", strings.NewReplacer("/ip4/", "", "/tcp/", ":").Replace(first)); err == nil {
		c.Close()
		t.Error("the old port is still there")
	}
	if _, err := c.DialNear(t.Context(), second); err != nil {
		t.Error(err)
	}
	if err := b.Send(link, []byte("still here")); err != nil {
		t.Error(err)
	}
	find(a, func(m Message) bool { return string(m.Data) == "still here" })
	hidden := start(t, k, func(c *Config, _ *bounds, _ *node) { c.Proxy, c.Listen = "127.0.0.1:9", nil })
	if _, err := hidden.ListenNear(); err == nil {
		t.Error("listens for neighbours behind a proxy")
	}
}

// Whoever holds an older key of the group and calls himself a neighbour is shown no
// proof under it, and so does not learn which group this is.
func TestDialNearProvesTheNewestKeyAlone(t *testing.T) {
	old, now := key("old", CatchUp), key("now", Member)
	thief := start(t, Keys{Accept: []Key{{Secret: old.Secret, Class: Member}}}, func(c *Config, _ *bounds, _ *node) {
		c.Signer = device{id: 2}
	})
	at := thief.near()
	phone := start(t, Keys{Accept: []Key{now, old}, Dial: []Key{now, old, key("invite", Invite)}}, func(c *Config, _ *bounds, _ *node) {
		c.Signer = device{id: 1, admits: map[byte]bool{2: true}}
	})
	if _, err := phone.DialNear(t.Context(), at); err != ErrRefused {
		t.Errorf("a neighbour with an old key: %v", err)
	}
	thief.mu.Lock()
	if len(thief.events) > 0 {
		t.Errorf("he learns %v", thief.events)
	}
	thief.mu.Unlock()
	if _, err := phone.Dial(t.Context(), at); err != nil { // a member named the address
		t.Error(err)
	}
	find(thief, anyUp)
	joiner := start(t, Keys{Dial: []Key{key("invite", Invite)}})
	if _, err := joiner.DialNear(t.Context(), at); err == nil || err == ErrRefused {
		t.Errorf("who has no key of a member: %v", err)
	}
}
