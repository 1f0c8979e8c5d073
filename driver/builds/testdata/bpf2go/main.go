// Count loads an XDP program that bpf2go embedded, runs it on three packets,
// and prints what it returned and counted.
package main

import (
	"fmt"
	"log"
)

//go:generate go tool bpf2go -type tally count count.bpf.c

func main() {
	log.SetFlags(0)
	spec, err := loadCount()
	if err != nil {
		log.Fatal(err)
	}
	if err := spec.Variables["threshold"].Set(uint32(2)); err != nil {
		log.Fatal(err)
	}
	var objects countObjects
	if err := spec.LoadAndAssign(&objects, nil); err != nil {
		log.Fatal(err)
	}
	defer objects.Close()
	packet := make([]byte, 64)
	packet[12], packet[14], packet[23] = 8, 0x45, 17 // IPv4, UDP
	for range 3 {
		action, _, err := objects.Count.Test(packet)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("action", action)
	}
	var tally countTally
	if err := objects.Protocols.Lookup(uint32(17), &tally); err != nil {
		log.Fatal(err)
	}
	fmt.Println("packets", tally.Packets, "bytes", tally.Bytes)
}
