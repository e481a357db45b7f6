// Buttons that copy a field's text. Without this module they stay hidden.
for (const button of document.querySelectorAll("[data-copies]")) {
  const field = document.getElementById(button.dataset.copies);
  const [copy, copied] = button.children;
  button.hidden = false;
  button.addEventListener("click", async () => {
    field.select();
    try {
      await navigator.clipboard.writeText(field.value);
    } catch {
      document.execCommand("copy"); // without TLS, there is no clipboard
    }
    copy.hidden = true;
    copied.hidden = false;
  });
}
