// An HTTP server that counts with goroutines.
package main

import (
	"fmt"
	"net/http"
	"sync"
)

func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		var all sync.WaitGroup
		var lock sync.Mutex
		n := 0
		for i := 0; i < 1000; i++ {
			all.Add(1)
			go func() {
				defer all.Done()
				lock.Lock()
				n++
				lock.Unlock()
			}()
		}
		all.Wait()
		fmt.Fprintf(w, "%d goroutines", n)
	})
	fmt.Println(http.ListenAndServe(":80", nil))
}
