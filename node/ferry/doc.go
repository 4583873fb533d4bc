// Package ferry runs a ferry: what package protocol/ferry decides is kept on a disk and
// served on streams. It holds nothing that opens an envelope.
//
// Start with OpenStore and NewServer; Serve is called for each stream that a client
// opens, and Tick once an hour.
package ferry
