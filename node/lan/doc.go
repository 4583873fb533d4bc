// Package lan lets phones in one local network find each other: it says by multicast
// that somebody answers at a port, under a random name, and hears who else does. It
// speaks DNS-SD over multicast DNS (RFC 6763, RFC 6762), as little of it as serves.
//
// Start with Start, then Tell it the ports. What is promised (spec 62):
//
//   - What is sent holds a random name and a port for each one that was told, and
//     nothing else that is ours: no peer ID, no address, no name of a machine, program
//     or group. Names are drawn anew at each start and when the networks change.
//   - It speaks only where this machine has a private IPv4 address, and never through
//     a tunnel.
//   - What comes in is believed in one point: that something may be at the address it
//     came from. At most 32 such addresses are remembered, each in the network that it
//     was heard in, and a packet that is not as expected leaves no trace.
//
// Who is there is for the caller to find out. Nothing is logged.
package lan
