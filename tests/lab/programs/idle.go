// An HTTP server and a client in Go, as net/http makes them.
//
//	idle serve ADDRESS:PORT     IdleTimeout 2 s; POST /unread is answered before its body is read
//	idle ask ADDRESS:PORT       three requests on one connection, which the client's IdleConnTimeout of 1 s ends
package main

import (
	"io"
	"net/http"
	"os"
	"time"
)

func main() {
	switch os.Args[1] {
	case "serve":
		serve(os.Args[2])
	case "ask":
		ask("http://" + os.Args[2] + "/")
	}
}

func serve(address string) {
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello") })
	http.HandleFunc("/unread", func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "too large", http.StatusRequestEntityTooLarge)
	})
	server := &http.Server{Addr: address, IdleTimeout: 2 * time.Second}
	panic(server.ListenAndServe())
}

func ask(url string) {
	client := &http.Client{Transport: &http.Transport{IdleConnTimeout: time.Second}}
	for i := 0; i < 3; i++ {
		if answer, err := client.Get(url); err == nil {
			io.Copy(io.Discard, answer.Body)
			answer.Body.Close()
		}
		time.Sleep(100 * time.Millisecond)
	}
	time.Sleep(1500 * time.Millisecond)
}
