package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/palabre-app/palabre/node/api"
	"github.com/palabre-app/palabre/node/ferry"
	"github.com/palabre-app/palabre/node/p2p"
	"github.com/palabre-app/palabre/node/store"
	"github.com/palabre-app/palabre/node/text"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/epoch"
	rules "github.com/palabre-app/palabre/protocol/ferry"
)

// ferries starts a letter carrier and returns what it says first.
func (p *person) ferries(t *testing.T, args ...string) (r carries) {
	t.Helper()
	first := make(chan string, 1)
	run, err := p.launch(func(line string) {
		select {
		case first <- line:
		default:
			fmt.Fprintln(p.said, line)
		}
	}, append([]string{"ferry"}, args...)...)
	must(t, err)
	p.running = run
	select {
	case line := <-first:
		must(t, json.Unmarshal([]byte(line), &r))
	case <-run.ended:
		t.Fatalf("the letter carrier ended: %v", run.err)
	case <-time.After(p.patience):
		t.Fatal("the letter carrier says nothing")
	}
	if r.Event != "ready" || len(r.Addrs) == 0 {
		t.Fatalf("it said %+v first", r)
	}
	return r
}

// letter is one that a member leaves: nobody but members can tell that it is empty.
func letter(t *testing.T, n byte) rules.Deposit {
	t.Helper()
	m := epoch.CommonMailbox(epoch.NetKeyFromBytes([32]byte{7}), 20_000)
	e := protocol.Envelope{Version: protocol.Version, Mailbox: m.Address(), Nonce: [24]byte{n}, Ciphertext: make([]byte, protocol.BucketSmall-65)}
	b := e.Marshal()
	sig, err := m.SignPut(protocol.IDOf(b))
	must(t, err)
	return rules.Deposit{Envelope: b, Write: m.WriteKey(), Read: m.ReadKey(), Put: rules.Signature(sig)}
}

// leaves visits a letter carrier, shows a ticket if there is one, and leaves letters. It
// returns what became of them, nothing for those that were not answered, and the
// visitor's name.
func leaves(t *testing.T, at string, ticket *[32]byte, letters ...byte) (got []rules.Outcome, name []byte) {
	t.Helper()
	ctx, stop := context.WithTimeout(context.Background(), patience)
	defer stop()
	v, err := p2p.VisitFerry(ctx, at, "", nil)
	must(t, err)
	defer v.Close()
	came := make(chan []byte, 64)
	v.Start(func(m []byte) { came <- m }, func() { close(came) })
	next := func() []byte {
		select {
		case m := <-came:
			return m
		case <-ctx.Done():
			t.Fatal("the letter carrier says nothing")
		}
		return nil
	}
	hello := next()
	if len(hello) == 0 {
		t.Fatal("the letter carrier has no room")
	}
	h, err := rules.ParseHello(hello[1:])
	must(t, err)
	if ticket != nil {
		must(t, v.Send(rules.SignTicket(*ticket, h.Nonce, v.Ferry(), v.Client())))
	}
	for _, n := range letters {
		if v.Send(rules.PutMessage(letter(t, n))) != nil {
			break // closed already
		}
		m := next()
		if m == nil {
			break
		}
		list, err := rules.ParseKept(m[1:])
		must(t, err)
		got = append(got, list[0].Outcome)
	}
	return got, v.Client()
}

// base58 is how people see a peer id.
func base58(b []byte) string {
	const digits = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
	s, mod := "", new(big.Int)
	for n := new(big.Int).SetBytes(b); n.Sign() > 0; {
		n.DivMod(n, big.NewInt(58), mod)
		s = string(digits[mod.Int64()]) + s
	}
	return "1" + s // it begins with a zero
}

// figures asks a letter carrier for its figures.
func figures(t *testing.T, at string) []byte {
	t.Helper()
	r, err := http.Get("http://" + at + "/metrics")
	must(t, err)
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != http.StatusOK {
		t.Fatalf("%s, %v", r.Status, err)
	}
	return b
}

// A letter carrier runs without a profile, has what it said it keeps when it was killed,
// is alone in its folder, and neither writes nor prints who came.
func TestLetterCarrier(t *testing.T) {
	t.Parallel()
	place := place(t)
	dir := filepath.Join(place, "letters")
	p := stranger(t, place, "Carrier")
	said := p.said.(*ledger)
	args := []string{"--dir", dir, "--listen", onTCP, "--listen", onQUIC, "--size", "64MiB", "--figures", "127.0.0.1:0"}
	r := p.ferries(t, args...)
	if len(r.Addrs) != 2 || !strings.HasPrefix(r.Figures, "127.0.0.1:") {
		t.Fatalf("%+v", r)
	}
	got, name := leaves(t, r.Addrs[0], nil, 1, 2, 3)
	if !slices.Equal(got, []rules.Outcome{rules.Kept, rules.Kept, rules.Kept}) {
		t.Errorf("letters were answered by %v", got)
	}
	page := figures(t, r.Figures)
	if !bytes.Contains(page, []byte("\npalabre_ferry_envelopes_kept_total 3\n")) {
		t.Errorf("%s", page)
	}
	for _, args := range [][]string{{"ferry", "--listen", onTCP}, {"ferry", "ticket", "new"}, {"ferry", "ticket", "list"}, {"ferry", "ticket", "end", "abcdef"},
		{"ferry", "import", file(t, "bundle", "any")}} {
		if e := p.try(t, append(args, "--dir", dir)...).fault(t); e.Code != api.CodeCarrierInUse || !strings.Contains(e.Hint, "stop it") {
			t.Errorf("%v beside it: %+v", args, e)
		}
	}

	// The carrier's own name shows how one is written.
	key, err := os.ReadFile(filepath.Join(dir, "key"))
	must(t, err)
	own, err := p2p.FerryID([32]byte(key[32:]))
	must(t, err)
	if !strings.HasSuffix(r.Addrs[0], "/p2p/"+base58(own)) {
		t.Errorf("%s, but %s is looked for", r.Addrs[0], base58(own))
	}
	who := canaries{"visitor": name[len(name)-32:], "visitor's name": []byte(base58(name)), "visitor's address": []byte("127.0.0.1")}
	who.absentUnder(t, "running", dir)
	who.absent(t, "figures", page)

	p.kill()
	if r.Addrs, r.Figures = nil, ""; len(files(t, dir)) < 3 {
		t.Error("its files are gone")
	}
	again := p.ferries(t, args...)
	if !strings.HasSuffix(again.Addrs[0], "/p2p/"+base58(own)) {
		t.Errorf("it has another name: %v", again.Addrs)
	}
	if page := figures(t, again.Figures); !bytes.Contains(page, []byte("\npalabre_ferry_held_bytes 6144\n")) {
		t.Errorf("3 letters are not there:\n%s", page)
	}
	must(t, p.running.end(syscall.SIGTERM, p.patience))
	if s := said.text(); s != "" {
		t.Errorf("beside its first line it printed %q", s)
	}
	who.absentUnder(t, "stopped", dir)
	if _, err := os.Lstat(p.dir); err == nil {
		t.Error("a profile was made")
	}
}

// Tickets are made and ended, and files taken in, while the carrier is stopped.
func TestLetterCarrierWithTickets(t *testing.T) {
	t.Parallel()
	place := place(t)
	dir := filepath.Join(place, "letters")
	p := stranger(t, place, "Carrier")
	for _, args := range [][]string{{"ticket", "new"}, {"ticket", "list"}, {"ticket", "end", "abcdef"}, {"import", file(t, "bundle", "any")}} {
		if e := p.try(t, append(append([]string{"ferry"}, args...), "--dir", dir)...).fault(t); e.Code != api.CodeCarrierMissing {
			t.Errorf("%v where there is none: %+v", args, e)
		}
	}
	if _, err := os.Lstat(dir); err == nil {
		t.Error("the folder was made")
	}
	closed := []string{"--dir", dir, "--listen", onTCP, "--closed"}
	serve := func(ticket *[32]byte, want ...rules.Outcome) {
		t.Helper()
		r := p.ferries(t, closed...)
		if got, _ := leaves(t, r.Addrs[0], ticket, 1); !slices.Equal(got, want) {
			t.Errorf("answered by %v, want %v", got, want)
		}
		must(t, p.running.end(syscall.SIGTERM, p.patience))
	}
	serve(nil, rules.NoTicket)

	var list []ticketKey
	must(t, p.do(&list, "ferry", "ticket", "list", "--dir", dir))
	var made, other ticketMade
	must(t, p.do(&made, "ferry", "ticket", "new", "--dir", dir))
	must(t, p.do(&other, "ferry", "ticket", "new", "--dir", dir))
	seed, err := base64.RawURLEncoding.Strict().DecodeString(strings.TrimPrefix(made.Ticket, "#"))
	if err != nil || len(list) != 0 || len(made.Ticket) != 44 || len(seed) != 32 || made.Ticket[0] != '#' {
		t.Fatalf("%d before, %+v: %v", len(list), made, err)
	}
	public := ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey)
	if made.Key != hex.EncodeToString(public) {
		t.Errorf("the ticket's key is %s", made.Key)
	}
	must(t, p.do(&list, "ferry", "ticket", "list", "--dir", dir))
	if len(list) != 2 || !slices.Contains(list, ticketKey{made.Key}) || !slices.Contains(list, ticketKey{other.Key}) {
		t.Errorf("tickets %+v", list)
	}
	canaries{"ticket": seed, "ticket as text": []byte(made.Ticket[1:])}.absentUnder(t, "with tickets", dir)
	serve((*[32]byte)(seed), rules.Kept)

	for _, bad := range []string{"abcde", made.Key + "00", "zzzzzz"} {
		if e := p.try(t, "ferry", "ticket", "end", bad, "--dir", dir).fault(t); e.Code != api.CodeUnknownTicket {
			t.Errorf("%s: %+v", bad, e)
		}
	}
	var ended ticketKey
	must(t, p.do(&ended, "ferry", "ticket", "end", made.Key[:12], "--dir", dir))
	must(t, p.do(&list, "ferry", "ticket", "list", "--dir", dir))
	if ended.Key != made.Key || len(list) != 1 || list[0].Key != other.Key {
		t.Errorf("ended %+v, left %+v", ended, list)
	}
	serve((*[32]byte)(seed))

	var whole bytes.Buffer
	w := rules.NewBundleWriter(&whole)
	for n := byte(1); n <= 3; n++ {
		d := letter(t, n)
		must(t, w.Add(rules.Parcel{Envelope: d.Envelope, Deposit: &d}))
	}
	must(t, w.Add(rules.Parcel{Envelope: letter(t, 4).Envelope}))
	must(t, w.Close())
	cut, damaged := whole.String()[:5_000], whole.String()[:whole.Len()-1]+"x"
	for _, c := range []struct {
		file string
		want ferryImported
	}{
		{cut, ferryImported{Kept: 2, Broken: api.BrokenCutOff}},
		{whole.String(), ferryImported{Kept: 3, Phones: 1}},
		{damaged, ferryImported{Kept: 3, Phones: 1, Broken: api.BrokenDamaged}},
	} {
		var got ferryImported
		must(t, p.do(&got, "ferry", "import", file(t, "bundle", c.file), "--dir", dir))
		if got != c.want {
			t.Errorf("%d bytes: %+v, want %+v", len(c.file), got, c.want)
		}
	}
	for path, want := range map[string]string{file(t, "bundle", "not what it should be"): api.CodeNotABundle, file(t, "empty", ""): api.CodeNotABundle,
		dir: api.CodeFileUnreadable, os.DevNull: api.CodeFileUnreadable, filepath.Join(place, "nothing"): api.CodeFileUnreadable} {
		if e := p.try(t, "ferry", "import", path, "--dir", dir).fault(t); e.Code != want {
			t.Errorf("%s: %+v", path, e)
		}
	}
}

// What is wrong with a folder or an address is said in one line, and nothing changes.
func TestLetterCarrierFaults(t *testing.T) {
	t.Parallel()
	place := place(t)
	awa := someone(t, place, "Awa")
	profile := files(t, awa.dir)
	if e := awa.try(t, "ferry", "--dir", awa.dir, "--listen", onTCP).fault(t); e.Code != api.CodeCarrierDamaged {
		t.Errorf("in a profile: %+v", e)
	}
	same(t, "the profile", profile, files(t, awa.dir))
	if e := awa.try(t, "ferry", "--dir", filepath.Join(awa.pass, "x"), "--listen", onTCP).fault(t); e.Code != api.CodeFileUnreadable {
		t.Errorf("below a file: %+v", e)
	}
	dir := filepath.Join(place, "letters")
	if e := awa.try(t, "ferry", "--dir", dir, "--listen", "/dns4/ferry.example/tcp/4001").fault(t); e.Code != api.CodeCarrierAddress {
		t.Errorf("at a name: %+v", e)
	}
	if _, err := os.Lstat(dir); err == nil {
		t.Error("the folder was made")
	}
	cert, key := certificate(t, place)
	web := "/ip4/127.0.0.1/tcp/0/tls/ws"
	for what, args := range map[string][]string{
		"no certificate": {"--listen", web}, "no key": {"--listen", web, "--tls-cert", cert}, "no such file": {"--listen", web, "--tls-cert", cert, "--tls-key", key + "x"},
		"the other way round": {"--listen", web, "--tls-cert", key, "--tls-key", cert}, "no address": {"--listen", onTCP, "--tls-cert", cert, "--tls-key", key},
	} {
		if e := awa.try(t, append([]string{"ferry", "--dir", dir}, args...)...).fault(t); e.Code != api.CodeCarrierCertificate {
			t.Errorf("%s: %+v", what, e)
		}
	}
	if _, err := os.Lstat(dir); err == nil {
		t.Error("the folder was made")
	}
	r := awa.ferries(t, "--dir", dir, "--listen", onTCP)
	at, _, _ := strings.Cut(r.Addrs[0], "/p2p/")
	if e := awa.try(t, "ferry", "--dir", filepath.Join(place, "others"), "--listen", at).fault(t); e.Code != api.CodeCarrierAddress {
		t.Errorf("where another one is: %+v", e)
	}
	f := &face{language: text.English}
	for _, c := range []struct {
		err  error
		code string
	}{{fmt.Errorf("%w: x", ferry.ErrBroken), api.CodeCarrierDisk}, {store.ErrFull, api.CodeCarrierDisk}, {store.ErrDamaged, api.CodeCarrierDamaged}, {store.ErrNewer, api.CodeNewerVersion}} {
		err := f.carry(ferry.Config{Dir: filepath.Join(place, "third")}, true, func(*ferry.Ferry) error { return c.err })
		if api.CodeOf(err) != c.code {
			t.Errorf("%v: %v", c.err, err)
		}
	}
}

// What people read.
func TestPeopleReadOfLetterCarriers(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(place(t), "letters")
	p := palabre(t, "", "ferry", "--dir", dir, "--listen", onTCP, "--closed", "--figures", "127.0.0.1:0")
	p.Stdout = nil
	out, err := p.StdoutPipe()
	must(t, err)
	must(t, p.Start())
	stuck := time.AfterFunc(patience, func() { _ = p.Process.Kill() })
	defer stuck.Stop()
	lines := bufio.NewScanner(out)
	for _, want := range []string{`This letter carrier keeps sealed letters for those who are away. It can be reached at:`, `  /ip4/127.0.0.1/tcp/\d+/p2p/12D3\w+`,
		`A group names it with: palabre policy --carrier ADDRESS`, `It serves only those who have a ticket. To make one, stop it first: palabre ferry ticket new --dir DIR`,
		`Its figures, for this machine alone: http://127.0.0.1:\d+/metrics`} {
		if !lines.Scan() || !regexp.MustCompile("^"+want+"$").MatchString(lines.Text()) {
			t.Errorf("%q, want %q", lines.Text(), want)
		}
	}
	must(t, p.Process.Signal(os.Interrupt))
	if lines.Scan() {
		t.Errorf("it says %q too", lines.Text())
	}
	if err := p.Wait(); err != nil || p.err.Len() > 0 {
		t.Errorf("%v, %q", err, p.err.String())
	}
	// The ticket stands alone on the output, so that it can be passed on.
	p = palabre(t, "", "ferry", "ticket", "new", "--dir", dir)
	code := p.exit(t)
	key := ""
	if m := regexp.MustCompile(`palabre ferry ticket end ([0-9a-f]{8}) --dir DIR\n$`).FindStringSubmatch(p.err.String()); m != nil {
		key = m[1]
	}
	if code != exitDone || !regexp.MustCompile(`^#[\w-]{43}\n$`).MatchString(p.out.String()) || key == "" || !strings.Contains(p.err.String(), "It is a secret") {
		t.Errorf("%d, %q, %q", code, p.out.String(), p.err.String())
	}
	p = palabre(t, "", "ferry", "ticket", "list", "--dir", dir)
	if code := p.exit(t); code != exitDone || !strings.HasPrefix(p.out.String(), key) || p.out.Len() != 65 {
		t.Errorf("%d, %q", code, p.out.String())
	}
	prints(t, "", "Ended: nobody is served with this ticket any more. Letters that came with it stay for their time.\n", "ferry", "ticket", "end", key, "--dir", dir)
	prints(t, "", "There is no ticket. To make one: palabre ferry ticket new --dir DIR\n", "ferry", "ticket", "list", "--dir", dir)
	var said bytes.Buffer
	(&face{out: &said, language: text.English}).tookIn(ferryImported{Kept: 3, NoRoom: 2, Phones: 1, Broken: api.BrokenCutOff}, "/media/stick/file")
	if want := "Kept from the file: 3 letters.\nThere was no room for 2 letters.\nFor phones of the group alone: 1 letters. There one types: palabre bundle import file\n" +
		"The file was cut off: what came before that is taken in. Copy it again for the rest.\n"; said.String() != want {
		t.Errorf("%q", said.String())
	}
}

func TestSizes(t *testing.T) {
	for typed, want := range map[string]int64{"64MiB": 64 << 20, "500MiB": 500 << 20, "10GiB": 10 << 30, "2TiB": 2 << 40, "1024TiB": 1 << 50,
		"": 0, "63MiB": 0, "0GiB": 0, "-1GiB": 0, "+1GiB": 0, "1.5GiB": 0, "10": 0, "10G": 0, "10GB": 0, "10 GiB": 0, "GiB": 0, "10gib": 0, "1025TiB": 0, "99999999999GiB": 0, "10GiBGiB": 0} {
		var s size
		if err := s.Set(typed); int64(s) != want || (err == nil) != (want > 0) {
			t.Errorf("%q: %d, %v", typed, s, err)
		}
		if again := new(size); want > 0 && (again.Set(s.String()) != nil || *again != s) {
			t.Errorf("%q is written as %q", typed, s.String())
		}
	}
}
