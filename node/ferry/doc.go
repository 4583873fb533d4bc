// Package ferry runs a ferry (spec 75 section 9): what package protocol/ferry decides is
// kept on a disk and served on streams. It holds nothing that opens an envelope.
//
// Start with Open, then Ferry.Serve: the whole program on a folder and the network.
// OpenStore and NewServer are its parts, for any database and any streams.
//
// What is promised: nothing is said to be kept that is not durable; where the disk
// fails the program ends; and nothing that is written, printed or counted names who
// came.
package ferry
