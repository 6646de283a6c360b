// One call with Go's net/http: KEY MODEL MODE.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
)

func main() {
	key, model, mode := os.Args[1], os.Args[2], os.Args[3]
	fmt.Println(os.Getpid())
	body := map[string]any{"model": model, "messages": []map[string]string{{"role": "user", "content": "PROMPT-CANARY-51c9"}}}
	if mode == "stream" {
		body["stream"] = true
		body["stream_options"] = map[string]bool{"include_usage": true}
	}
	text, _ := json.Marshal(body)
	request, _ := http.NewRequest("POST", "https://api.openai.com/v1/chat/completions", bytes.NewReader(text))
	request.Header.Set("content-type", "application/json")
	request.Header.Set("authorization", "Bearer "+key)
	response, err := http.DefaultClient.Do(request)
	if err == nil {
		_, err = io.Copy(io.Discard, response.Body)
	}
	if err != nil || response.StatusCode != 200 {
		fmt.Fprintln(os.Stderr, err, response)
		os.Exit(1)
	}
}
