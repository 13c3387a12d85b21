// A whole machine that says hello, once a second. Edit me, then run `cargo xtask qemu hello-go`.
package main

import (
	"fmt"
	"time"
)

func main() {
	for {
		fmt.Println("Hello from Go")
		time.Sleep(time.Second)
	}
}
