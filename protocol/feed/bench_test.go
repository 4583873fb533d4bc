package feed

import (
	"fmt"
	"testing"
)

// A thousand notices in four languages, each edited once.
func BenchmarkList(b *testing.B) {
	s := New()
	for i := range 1000 {
		n := announcement("x")
		n.Texts = fourLanguages()
		name := fmt.Sprint("n", i)
		for _, it := range []Item{created(b, name, amina, n), edited(b, name+"e", amina, amends(2, name, name), n)} {
			if _, err := s.Apply(it); err != nil {
				b.Fatal(err)
			}
		}
	}
	for b.Loop() {
		if len(s.List(t0, []string{"de", "es"}, false)) != 1000 {
			b.Fatal("not all are listed")
		}
	}
}
