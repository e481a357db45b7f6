// Forms with data-once are sent once, however often somebody clicks.

for (const form of document.querySelectorAll("form[data-once]")) {
  let isSent = false;
  form.addEventListener("submit", (event) => {
    if (isSent) event.preventDefault();
    isSent = true;
  });
  // The form that "back" leads to may be sent again.
  addEventListener("pageshow", () => { isSent = false; });
}
