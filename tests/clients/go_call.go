// Calls with Go's net/http: KEY MODEL MODE for one; many ROUNDS for a connection for each key on standard input.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
)

func call(client *http.Client, key, model string, stream bool, filling int) error {
	prompt := "PROMPT-CANARY-51c9 " + strings.Repeat("x", filling)
	body := map[string]any{"model": model, "messages": []map[string]string{{"role": "user", "content": prompt}}}
	if stream {
		body["stream"] = true
		body["stream_options"] = map[string]bool{"include_usage": true}
	}
	text, _ := json.Marshal(body)
	request, _ := http.NewRequest("POST", "https://api.openai.com/v1/chat/completions", bytes.NewReader(text))
	request.Header.Set("content-type", "application/json")
	request.Header.Set("authorization", "Bearer "+key)
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != 200 {
		return fmt.Errorf("answered %s", response.Status)
	}
	_, err = io.Copy(io.Discard, response.Body)
	return err
}

// All keys at once, each with a connection of its own; the model's name tells each request from all others.
func many(rounds int) error {
	var group sync.WaitGroup
	failures := make(chan error, 1<<16)
	lines := bufio.NewScanner(os.Stdin)
	for index := 0; lines.Scan(); index++ {
		group.Add(1)
		go func(index int, key string) {
			defer group.Done()
			client := &http.Client{Transport: &http.Transport{ForceAttemptHTTP2: index%4 < 2}}
			for turn := 0; turn < rounds; turn++ {
				err := call(client, key, fmt.Sprintf("many-%d-%d", turn, index), index%2 == 0, index*37%3000)
				if err != nil {
					failures <- fmt.Errorf("key %d: %w", index, err)
				}
			}
		}(index, lines.Text())
	}
	group.Wait()
	close(failures)
	return <-failures
}

func main() {
	fmt.Println(os.Getpid())
	var err error
	if os.Args[1] == "many" {
		rounds, _ := strconv.Atoi(os.Args[2])
		err = many(rounds)
	} else {
		err = call(http.DefaultClient, os.Args[1], os.Args[2], os.Args[3] == "stream", 0)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
