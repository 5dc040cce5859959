package browser

import "encoding/json"

// A Tab is a page in a Browser.
type Tab struct {
	b       *Browser
	session string
}

// Open returns a new tab that shows url.
func (b *Browser) Open(url string) *Tab {
	b.t.Helper()
	ctx := b.t.Context()
	var target struct{ TargetID string }
	b.must(b.dev.call(ctx, "", "Target.createTarget", map[string]any{"url": "about:blank"}, &target))
	var attached struct{ SessionID string }
	b.must(b.dev.call(ctx, "", "Target.attachToTarget",
		map[string]any{"targetId": target.TargetID, "flatten": true}, &attached))
	tab := &Tab{b: b, session: attached.SessionID}
	var navigated struct{ ErrorText string }
	tab.Call("Page.navigate", map[string]any{"url": url}, &navigated)
	if navigated.ErrorText != "" {
		b.t.Fatalf("%s: %s", url, navigated.ErrorText)
	}
	return tab
}

// Call runs a DevTools method on the page, and stores the outcome in result,
// unless that is nil.
func (tab *Tab) Call(method string, params, result any) {
	tab.b.t.Helper()
	tab.b.must(tab.b.dev.call(tab.b.t.Context(), tab.session, method, params, result))
}

// Eval runs JavaScript on the page, waits for its promise if it returns one,
// and stores the value in result, unless that is nil.
func (tab *Tab) Eval(expression string, result any) {
	tab.b.t.Helper()
	var outcome struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails *struct {
			Text      string
			Exception struct{ Description string }
		}
	}
	tab.Call("Runtime.evaluate", map[string]any{
		"expression": expression, "awaitPromise": true, "returnByValue": true,
	}, &outcome)
	if e := outcome.ExceptionDetails; e != nil {
		tab.b.t.Fatalf("%s\n%s %s", expression, e.Text, e.Exception.Description)
	}
	if result != nil {
		tab.b.must(json.Unmarshal(outcome.Result.Value, result))
	}
}

// Until waits until a JavaScript condition is true on the page.
func (tab *Tab) Until(condition string) {
	tab.b.t.Helper()
	tab.Eval(`new Promise((resolve, reject) => {
		const start = Date.now();
		const look = () => {
			if (document.readyState === "complete" && (`+condition+`)) return resolve();
			if (Date.now() - start > 60000) return reject(new Error("not in time: " + document.body?.innerText));
			setTimeout(look, 10);
		};
		look();
	})`, nil)
}

// Type focuses the element that the CSS selector finds, replaces its text by
// keyboard, and presses Enter.
func (tab *Tab) Type(selector, text string) {
	tab.b.t.Helper()
	quoted, err := json.Marshal(selector)
	tab.b.must(err)
	tab.Eval("{ const e = document.querySelector("+string(quoted)+"); e.focus(); e.select(); }", nil)
	tab.Call("Input.insertText", map[string]any{"text": text}, nil)
	for _, kind := range []string{"keyDown", "keyUp"} {
		tab.Call("Input.dispatchKeyEvent", map[string]any{
			"type": kind, "key": "Enter", "code": "Enter", "text": "\r", "windowsVirtualKeyCode": 13,
		}, nil)
	}
}

func (b *Browser) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}
