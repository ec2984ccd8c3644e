// Save the tables and the report, and export folders with links or copies. Without a script, the links to the files
// work as well; with it, an error is shown on this page.
import { alarm, byId, getFile, make, post } from "./api.js";

for (const link of document.querySelectorAll("a[download]")) {
  link.addEventListener("click", async (event) => {
    event.preventDefault();
    try {
      const address = URL.createObjectURL(await getFile(link.href));
      make("a", { href: address, download: link.download }).click();
      setTimeout(() => URL.revokeObjectURL(address), 60_000); // by then the browser has read it
      alarm("");
    } catch (error) { alarm(error.message); }
  });
}

for (const id of ["links", "copies"]) {
  byId(id).addEventListener("click", async () => {
    byId("made").textContent = "Writing …";
    try {
      const { count, folder } = await post("/api/export", { copies: id === "copies" });
      byId("made").textContent = `${count} pictures are in ${folder}`;
      alarm("");
    } catch (error) { byId("made").textContent = ""; alarm(error.message); }
  });
}
