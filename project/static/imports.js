// The import pages: a file can be dropped, and progress shows by itself. Both work without this.

const zone = document.querySelector(".drop-zone");
if (zone) {
  const input = zone.querySelector("input[type=file]");
  const problem = zone.querySelector(".invalid-feedback");
  zone.querySelector(".drop-hint").hidden = false;

  const check = () => {
    const size = input.files.length ? input.files[0].size : 0;
    const text = size > Number(zone.dataset.maxBytes) ? zone.dataset.tooLarge : "";
    input.setCustomValidity(text);
    problem.textContent = text;
    input.classList.toggle("is-invalid", text !== "");
  };
  input.addEventListener("change", check);

  for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
    zone.addEventListener(kind, (event) => {
      event.preventDefault();
      zone.classList.toggle("is-over", kind === "dragenter" || kind === "dragover");
    });
  }
  zone.addEventListener("drop", (event) => {
    if (event.dataTransfer.files.length) {
      input.files = event.dataTransfer.files;
      check();
      input.focus();
    }
  });
  // A file that is dropped beside the zone would replace the page.
  for (const kind of ["dragover", "drop"]) {
    document.addEventListener(kind, (event) => event.preventDefault());
  }
}

async function poll(running) {
  const seconds = Number(running.dataset.refreshSeconds);
  for (;;) {
    await new Promise((done) => setTimeout(done, seconds * 1000));
    let next;
    try {
      const response = await fetch(location.href, { headers: { Accept: "text/html" } });
      const page = new DOMParser().parseFromString(await response.text(), "text/html");
      next = page.getElementById("running");
      if (!next && response.status < 500) {
        location.reload();
        return;
      }
    } catch {
      continue; // the network may be there again the next time
    }
    if (next) {
      running.replaceChildren(...next.childNodes);
    }
  }
}

const running = document.getElementById("running");
if (running) {
  poll(running);
}
