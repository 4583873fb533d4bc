package main

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/palabre-app/palabre/node/api"
)

// Clara's phone meets no other one for as long as it takes: a file that somebody
// carried brings her the notices and the renewed keys, and takes hers back.
func TestNoticesCarriedByHand(t *testing.T) {
	t.Parallel()
	dir := place(t)
	awa, bilal, clara := someone(t, dir, "Awa"), someone(t, dir, "Bilal"), someone(t, dir, "Clara")
	for _, p := range []*person{awa, bilal, clara} {
		must(t, p.on(onTCP))
	}
	newGroup(t, api.PostingAll, awa, bilal, clara)
	ids := memberIDs(t, awa, 3)
	memberIDs(t, clara, 3)
	must(t, clara.off())
	post := func(p *person, title string) (posted api.Posted) {
		t.Helper()
		must(t, p.do(&posted, "post", "announcement", "--title", title, "--body", "Sous le grand arbre."))
		return posted
	}
	post(awa, "Distribution de repas")
	must(t, awa.do(nil, "remove", ids["Bilal"]))
	post(awa, "Rendez-vous au marché")
	must(t, awa.off())
	must(t, bilal.off())

	var wrote api.BundleExported
	stick := filepath.Join(dir, "stick")
	must(t, awa.do(&wrote, "bundle", "export", stick))
	file, err := os.ReadFile(stick)
	must(t, err)
	items := wrote.Items
	info, err := os.Stat(stick)
	must(t, err)
	if wrote.File != stick || wrote.Bytes != int64(len(file)) || wrote.Items == 0 || runtime.GOOS != "windows" && info.Mode() != 0o600 {
		t.Errorf("%+v, the file has %d bytes and mode %v", wrote, len(file), info.Mode())
	}
	for _, word := range []string{"Distribution", "Rendez-vous", "grand arbre", "Bilal", "Clara", ids["Awa"]} {
		if bytes.Contains(file, []byte(word)) {
			t.Errorf("the file says %q", word)
		}
	}
	if e := awa.try(t, "bundle", "export", stick).fault(t); e.Code != api.CodeFileExists {
		t.Errorf("over a file that is there: %+v", e)
	}
	if e := awa.try(t, "bundle", "export", filepath.Join(dir, "nowhere", "stick")).fault(t); e.Code != api.CodeFileUnreadable {
		t.Errorf("into a folder that is not there: %+v", e)
	}
	if again, err := os.ReadFile(stick); err != nil || !bytes.Equal(again, file) {
		t.Error("the file was changed")
	}

	// A copy that was cut short brings what is in it.
	half := filepath.Join(dir, "half")
	must(t, os.WriteFile(half, file[:len(file)/3], 0o600))
	bring := func(p *person, path string) (got api.BundleImported) {
		t.Helper()
		must(t, p.do(&got, "bundle", "import", path))
		return got
	}
	if got := bring(clara, half); got.Broken != api.BrokenCutOff || got.New == 0 {
		t.Errorf("half of it: %+v", got)
	}
	if got := bring(clara, stick); got.Broken != "" || got.Other != 0 || got.New+got.Known != wrote.Items {
		t.Errorf("all of it: %+v of %d", got, wrote.Items)
	}
	if got := bring(clara, stick); got.New != 0 || got.Known != wrote.Items || got.Other != 0 || len(got.Groups) != 0 {
		t.Errorf("the second time: %+v of %d", got, wrote.Items)
	}
	list, err := clara.notices(false)
	if err != nil || len(list) != 2 || list[0].Title == list[1].Title {
		t.Errorf("Clara reads %+v, %v", list, err)
	}
	memberIDs(t, clara, 2)

	// And back.
	post(clara, "Réponse")
	back := filepath.Join(dir, "back")
	must(t, clara.do(&wrote, "bundle", "export", back, "--since", "1h"))
	got := bring(awa, back)
	if list, err := awa.notices(false); err != nil || len(list) != 3 || got.New == 0 || len(got.Groups) != 1 {
		t.Errorf("Awa reads %d notices, %v; %+v", len(list), err, got)
	}

	// Who is in no such group, or was removed before, has nothing of it.
	bring(bilal, stick)
	if list, err := bilal.notices(false); err != nil || len(list) > 1 {
		t.Errorf("Bilal reads %+v, %v", list, err)
	}
	dawit := someone(t, dir, "Dawit")
	if e := dawit.try(t, "bundle", "import", stick).fault(t); e.Code != api.CodeNoGroup {
		t.Errorf("without a group: %+v", e)
	}
	must(t, dawit.do(nil, "group", "create", "Ailleurs"))
	if got := bring(dawit, stick); got.New+got.Known != 0 || got.Other == 0 {
		t.Errorf("in another group: %+v", got)
	}

	// What is no bundle.
	other := filepath.Join(dir, "other")
	must(t, os.WriteFile(other, []byte("not what it should be"), 0o600))
	for path, code := range map[string]string{other: api.CodeNotABundle, os.DevNull: api.CodeFileUnreadable, dir: api.CodeFileUnreadable, filepath.Join(dir, "nothing"): api.CodeFileUnreadable} {
		if e := clara.try(t, "bundle", "import", path).fault(t); e.Code != code {
			t.Errorf("%s: %+v", path, e)
		}
	}
	damaged := bytes.Clone(file)
	damaged[len(file)-1] = 1
	must(t, os.WriteFile(other, damaged, 0o600))
	if got := bring(clara, other); got.Broken != api.BrokenDamaged || got.Known == 0 {
		t.Errorf("a damaged file: %+v", got)
	}
	must(t, os.Truncate(stick, 10<<30)) // a hole: it takes no space
	if got := bring(clara, stick); got.Broken != api.BrokenDamaged || got.Known != items {
		t.Errorf("a huge file: %+v", got)
	}
	must(t, os.Symlink(stick, filepath.Join(dir, "pointer")))
	if e := awa.try(t, "bundle", "export", filepath.Join(dir, "pointer")).fault(t); e.Code != api.CodeFileExists {
		t.Errorf("onto a symbolic link: %+v", e)
	}
}

// What people read.
func TestPeopleReadOfBundles(t *testing.T) {
	r, dir := record(t, map[string]any{api.CommandBundleExport: api.BundleExported{File: "/media/stick/file", Items: 41, Bytes: 163_840}})
	prints(t, dir, "Saved: 41 items, 160 KiB, in /media/stick/file.\nOnly phones of the group can read it. On the other phone: palabre bundle import file\n", "bundle", "export", "/media/stick/file")
	if asked := <-r.asked; asked.args != `{"file":"/media/stick/file","since_seconds":604800}` {
		t.Errorf("asked %s", asked.args)
	}
	for want, got := range map[string]api.BundleImported{
		"Taken in: 12 new items. To read the notices: palabre notices\n": {New: 12, Known: 29},
		"Nothing in it is new.\n":             {Known: 29, Other: 1},
		"Nothing in it is for your groups.\n": {Other: 41},
		"Taken in: 3 new items. To read the notices: palabre notices\nThe file was cut off: what came before that is taken in. Copy it again for the rest.\n": {New: 3, Broken: api.BrokenCutOff},
		"Taken in: 3 new items. To read the notices: palabre notices\nThe file is damaged: what came before that is taken in. Copy it again for the rest.\n":  {New: 3, Broken: api.BrokenDamaged},
	} {
		_, dir := record(t, map[string]any{api.CommandBundleImport: got})
		prints(t, dir, want, "bundle", "import", "/media/stick/file")
	}
}
