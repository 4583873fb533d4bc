package api

// Data is what the network cost this device, in bytes as a network counts them. It is
// kept on the device alone, for 35 days. Days and months are those of UTC.
type Data struct {
	Today DataUse `json:"today"`
	Month DataUse `json:"month"` // this one, with today
	// CapBytes is how much a day may cost; 0: as much as it takes.
	CapBytes int64 `json:"cap_bytes,omitempty"`
	Low      bool  `json:"low,omitempty"` // 80 in 100 of it are used
	// Reached says that it is used up: until Until nothing comes or goes but one short
	// visit after each thing that a person does.
	Reached bool   `json:"reached,omitempty"`
	Until   string `json:"until"` // when the day ends
}

// DataUse is data by what it was for; each byte counts once.
type DataUse struct {
	Letters     DataVolume `json:"letters"`     // notices and what belongs to them
	Comparing   DataVolume `json:"comparing"`   // asking each other what is new
	Carriers    DataVolume `json:"carriers"`    // visits to letter carriers
	Connections DataVolume `json:"connections"` // making and keeping connections to members
}

// DataVolume is bytes in each direction.
type DataVolume struct {
	In  int64 `json:"in"`
	Out int64 `json:"out"`
}

// DataSetArgs set the cap: CodeDataBounds unless it is 0, for none, or 1 MB
// (1,000,000) to 1,000 TB.
type DataSetArgs struct {
	CapBytes int64 `json:"cap_bytes"` // a day
}
