// What makes all pages a little smoother; each of them works without it.

// A menu closes when the person goes on elsewhere, or presses Escape.
for (const menu of document.querySelectorAll("details.menu")) {
  const close = () => (menu.open = false);
  document.addEventListener("click", (event) => menu.contains(event.target) || close());
  menu.addEventListener("focusout", (event) => {
    if (event.relatedTarget && !menu.contains(event.relatedTarget)) close();
  });
  menu.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !menu.open) return;
    close();
    menu.querySelector("summary").focus();
  });
}

// On a phone the sections are a row that scrolls.
document
  .querySelector("header .nav [aria-current]")
  ?.scrollIntoView({ block: "nearest", inline: "nearest" });

// Without a network, the browser would replace a form by its own error page.
const offline = document.getElementById("offline");
document.addEventListener("submit", (event) => {
  offline.hidden = navigator.onLine;
  if (navigator.onLine) return;
  event.preventDefault();
  offline.scrollIntoView({ block: "center" });
});
addEventListener("online", () => (offline.hidden = true));
