package api

// BundleExportArgs write a bundle: a file for somebody who was away (spec 75
// section 7).
type BundleExportArgs struct {
	Group        string `json:"group,omitempty"`
	File         string `json:"file"` // absolute path of a file that is not there yet
	SinceSeconds int64  `json:"since_seconds"`
}

// BundleExported is what was written.
type BundleExported struct {
	File  string `json:"file"`
	Items int    `json:"items"`
	Bytes int64  `json:"bytes"`
}

// BundleImportArgs read a bundle, for all groups of the profile.
type BundleImportArgs struct {
	File string `json:"file"` // absolute path
}

// What a bundle can be that was not read to its end: what came before counts.
const (
	BrokenCutOff  = "cut_off"
	BrokenDamaged = "damaged"
)

// BundleImported is what a bundle brought, in items.
type BundleImported struct {
	New    int      `json:"new"`
	Known  int      `json:"known"`            // held already, or of no use any more
	Other  int      `json:"other"`            // for nobody here
	Groups []string `json:"groups"`           // those to which it brought something
	Broken string   `json:"broken,omitempty"` // BrokenCutOff or BrokenDamaged
}
