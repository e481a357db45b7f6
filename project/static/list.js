// The list of users: search while one types, keys for its pages, and choosing rows.
// Without this file, the same links, forms and checkboxes do it with a page load each.

const PAUSE_MS = 300;
const form = document.getElementById("search");
const search = form.elements.q;
const list = document.getElementById("list");
const count = document.getElementById("count");
let timer;
let running = new AbortController();
let last; // the checkbox that was used last, for ranges

function address() {
  const fields = [...new FormData(form)].filter(([name, value]) => value && name !== "sort");
  const sort = search.value.trim() ? null : form.elements.sort?.value;
  const query = new URLSearchParams(sort ? [...fields, ["sort", sort]] : fields);
  return form.action + (query.size ? `?${query}` : "");
}

async function show(url) {
  running.abort();
  running = new AbortController();
  list.setAttribute("aria-busy", "true");
  try {
    const response = await fetch(url, { headers: { Accept: "text/html" }, signal: running.signal });
    if (!response.ok || response.redirected) {
      throw new Error(response.status);
    }
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    list.replaceChildren(...page.getElementById("list").childNodes);
    count.replaceChildren(...page.getElementById("count").childNodes);
    history.replaceState(null, "", url);
    list.removeAttribute("aria-busy");
    prepare();
  } catch (error) {
    if (error.name !== "AbortError") {
      location.assign(url);
    }
  }
}

function searchNow() {
  clearTimeout(timer);
  if (address() !== location.href) {
    show(address());
  }
}

search.addEventListener("input", (event) => {
  clearTimeout(timer);
  if (!event.isComposing) {
    timer = setTimeout(searchNow, PAUSE_MS);
  }
});
search.addEventListener("compositionend", () => {
  timer = setTimeout(searchNow, PAUSE_MS);
});
form.addEventListener("submit", (event) => {
  event.preventDefault();
  searchNow();
});

if (search.value !== search.defaultValue) {
  searchNow(); // it was typed before this file had come
}

document.addEventListener("keydown", (event) => {
  const isText = event.target.closest("input:not([type=checkbox]), textarea, select, [contenteditable]");
  if (isText || event.ctrlKey || event.metaKey || event.altKey) {
    return;
  }
  if (event.key === "/") {
    event.preventDefault();
    search.focus();
    search.select();
  } else if ((event.key === "ArrowLeft" || event.key === "ArrowRight") && !event.shiftKey) {
    list.querySelector(`a[rel=${event.key === "ArrowLeft" ? "prev" : "next"}]`)?.click();
  }
});

function boxes() {
  return [...list.querySelectorAll("input[name=ids]")];
}

function tell() {
  const all = document.getElementById("select-all");
  const chosen = document.getElementById("chosen");
  if (!all) {
    return;
  }
  const number = boxes().filter((box) => box.checked).length;
  all.checked = number === boxes().length;
  all.indeterminate = number > 0 && !all.checked;
  chosen.textContent = number ? chosen.dataset.text.replace("#", number) : "";
}

function prepare() {
  last = undefined;
  const all = document.getElementById("select-all");
  if (all) {
    all.closest("label").hidden = false;
  }
  tell();
}

list.addEventListener("click", (event) => {
  const box = event.target;
  if (box.name !== "ids") {
    return;
  }
  const shown = boxes();
  if (event.shiftKey && last) {
    const [first, end] = [shown.indexOf(last), shown.indexOf(box)].sort((a, b) => a - b);
    for (const other of shown.slice(first, end + 1)) {
      other.checked = box.checked;
    }
  }
  last = box;
});
list.addEventListener("change", (event) => {
  if (event.target.id === "select-all") {
    for (const box of boxes()) {
      box.checked = event.target.checked;
    }
  }
  tell();
});

prepare();
// A browser may bring back the choice, but not the toolbar's number.
window.addEventListener("pageshow", prepare);
