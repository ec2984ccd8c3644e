"""The catalogue of the commands of `jaxlabel`: their summaries, their flags, their functions.

To add a command, write its function in `commands.py` and an entry of `COMMANDS` here.
"""

from jaxlabel.cli.arguments import DEFAULT_CONFIG, Command, Flag, setting_flag
from jaxlabel.cli.commands import (
    answer,
    data_explore,
    data_info,
    data_prepare,
    export,
    label,
    labels,
    ledger,
    predict,
    report,
    sweep,
    train,
)

SOURCES = (
    "digits, folder:DIR, zip:FILE, tar:FILE, csv:FILE, parquet:FILE, webdataset:PATTERN, "
    "hf:NAME_OR_DIR, idx:DIR, npz:FILE"
)
DATA = Flag("data", f"{SOURCES} or tfds:NAME; a bare path stands for folder:PATH", "SPEC",
            missing=f"{SOURCES}, tfds:NAME")  # fmt: skip
RUN_WORKDIR = Flag(
    "workdir", "the work directory of the run", "DIR",
    missing="the directory that jaxlabel train wrote",
)  # fmt: skip
OWN_DATA_CONFIG = "configs/flagship.py:folder"
SHARED_FLAGS = (  # each is the short form of a setting
    Flag("data", "the pictures, as --config.data; a bare path stands for folder:PATH. Without "
         f"--config, this flag also selects {OWN_DATA_CONFIG}", "SPEC", ""),
    Flag("budget", "the number of labels that may be bought, or the minutes that you have, such as "
         "30m, as --config.budget", "N", ""),
    Flag("target", "the accuracy at which the run stops, such as 0.95, as --config.target. The "
         "flagship (the default recipe for your own pictures) also certifies it, with labels of "
         "randomly drawn pictures", "FRACTION", ""),
)  # fmt: skip
IMAGE_FLAGS = (
    setting_flag("image_size", "N"),
    setting_flag("image_mode", "MODE"),
    setting_flag("folder_labels"),
    setting_flag("skip_unreadable"),
    setting_flag("data_dir", "DIR"),
)

COMMANDS = (
    Command(
        "train", "buy labels, train, evaluate, and write a report", train,
        description="Without a flag it labels the scikit-learn digits. With --data and without "
        f"--config it uses {OWN_DATA_CONFIG}.",
        default_config=DEFAULT_CONFIG, config_with_data=OWN_DATA_CONFIG,
        flags=(
            SHARED_FLAGS[0],
            Flag("workdir", "the directory for everything that the run writes; without this flag, "
                 "runs/NAME of the config. The same command continues a run that was killed",
                 "DIR"),
            *SHARED_FLAGS[1:],
            Flag("coordinator", "for a run by several processes, such as one per machine: the "
                 "address of process 0, with a free port there, together with the next two flags; "
                 "auto takes all three values from Slurm, Open MPI, Kubernetes or a TPU pod",
                 "HOST:PORT", ""),
            Flag("num_processes", "the number of processes", "N", 0),
            Flag("process_id", "the number of this process, from 0", "I", -1),
        ),
    ),
    Command(
        "label", "label pictures on a local web page while the run trains", label,
        default_config=OWN_DATA_CONFIG,
        flags=(
            SHARED_FLAGS[0],
            Flag("workdir", "the directory for everything that the run writes; without this flag, "
                 "runs/label_NAME of the folder. The same command continues the page and the run; "
                 "jaxlabel train can continue the run too", "DIR", ""),
            *SHARED_FLAGS[1:],
            Flag("port", "the port on which the page listens; 0: a free one", "N", 0),
            Flag("host", "the address on which the page listens; another one than 127.0.0.1 lets "
                 "other machines in and needs --password", "HOST", "127.0.0.1"),
            Flag("password", "the password that other machines must give", "TEXT", ""),
            Flag("no_browser", "print the page's address instead of opening the browser",
                 default=False),
            Flag("votes", "the number of people whose answers a label takes; each adds &as=NAME "
                 "to the page's address", "K", 1),
            Flag("votes_share", "the share of the pictures that take so many people's answers, "
                 "from 0 to 1, chosen at random; one person labels each of the others", "P", "1"),
            Flag("arbiter", "the person whose answer decides where others differ", "NAME", ""),
        ),
    ),
    Command(
        "sweep", "run an experiment's grid side by side, into tables and figures", sweep,
        flags=(
            Flag("experiment", "the experiment; experiments/README.md in the repository lists "
                 "those that come with jaxlabel", "FILE",
                 missing="experiments/README.md in the repository lists them"),
            Flag("workdir", "the directory for everything that the sweep writes; without this "
                 "flag, runs/NAME of the experiment. The same command continues a sweep: it "
                 "repeats no finished run", "DIR"),
            Flag("jobs", "the number of runs at a time, each with its share of the cores; 0: one "
                 "on an accelerator, else one per core and at most 8", "N", 0),
            Flag("quick", "run the quick variant of the experiment", default=False),
            Flag("data_root", "the directory that holds a folder of IDX files per data set "
                 "(fashion_mnist/, mnist/, ...)", "DIR", ""),
            Flag("publish", "append the results to results/NAME.jsonl beside the experiment, and "
                 "write the table and figures of that file beside it", default=False),
            Flag("go_on", "skip the runs whose result is in results/NAME.jsonl already, also when "
                 "another machine made it", default=False),
            Flag("limit", "start no new run after this number of minutes; runs start seed by seed, "
                 "so that the finished ones can be compared; 0: no limit", "MINUTES", 0),
            Flag("slurm", "submit the runs to Slurm; needs pip install jaxlabel[slurm]",
                 default=False),
            Flag("slurm_options", "submitit's parameters, such as "
                 "timeout_min=60,slurm_partition=cpu", "KEY=VALUE,...", ""),
            Flag("devices_per_run", "with --slurm: the number of GPUs on each machine of a run; 0: "
                 "as --slurm_options says", "N", 0),
            Flag("hosts_per_run", "with --slurm: the number of machines that compute a run "
                 "together, one process on each", "N", 1),
        ),
    ),
    Command(
        "predict", "label images with the model of a finished run, without training", predict,
        flags=(
            RUN_WORKDIR._replace(help="the work directory of the run, whose settings say how "
                                 "images are resized and converted"),
            DATA,
            Flag("out", "the CSV file to write: a row per image with its label and the "
                 "probability of each class", "FILE", "labels.csv"),
            Flag("split", "test, train or all; without this flag, the test images if there are "
                 "any, else the training images", "NAME", ""),
            Flag("data_dir", "the directory in which tfds:NAME is prepared; without this flag, "
                 "the directory that the run used", "DIR"),
            Flag("skip_unreadable", "write a picture that cannot be read as a row with an error "
                 "and no label", default=False),
            Flag("features", "the .npy, .npz or .parquet file with a feature vector of each image, "
                 "for a run that learned from config.features", "FILE", ""),
        ),
    ),
    Command(
        "export", "write a run's classifier as ONNX, StableHLO and safetensors", export,
        description="The bundle holds the model in each format, config.json, a model card, and "
        "predict.py, which needs onnxruntime, numpy and pillow only. Each file is compared with "
        "the network on 256 images. Needs pip install 'jaxlabel[export]'.",
        flags=(
            RUN_WORKDIR,
            Flag("out", "the directory to write; a bundle that is there is replaced", "DIR",
                 missing="the directory for the bundle"),
            Flag("formats", "some of safetensors, onnx and stablehlo", "NAME,...",
                 "safetensors,onnx,stablehlo"),
        ),
    ),
    Command(
        "labels", "write the label of each training image, for other programs", labels,
        description="Each image has its label, the probability, and how the label is known: "
        "bought by the run's account, which other runs may share, predicted, or not "
        "sure. folders links the images into a folder per class; "
        "imagefolder is read by Hugging Face's datasets; labelstudio is imported by Label Studio, "
        "and jaxlabel answer --labels=EXPORT.json reads what people answered there.",
        flags=(
            RUN_WORKDIR,
            Flag("format", "csv, jsonl, parquet, folders, imagefolder or labelstudio", "NAME",
                 "csv"),
            Flag("out", "the file or the new directory to write; without this flag, a name in the "
                 "work directory", "PATH", ""),
            Flag("sure", "the probability below which a predicted label counts as not sure", "P",
                 "0.5"),
            Flag("copy", "copy image files instead of linking to them", default=False),
        ),
    ),
    Command(
        "report", "write report.html again from the files of a work directory", report,
        flags=(
            RUN_WORKDIR,
            Flag("out", "the HTML file to write, if the work directory is another user's; without "
                 "this flag, WORKDIR/report.html", "FILE", ""),
        ),
    ),
    Command(
        "ledger", "print which labels a run bought and what they cost", ledger,
        description="If other runs use the same account, the labels bought before this run are "
        "summed up in one row, and those bought after it in another.",
        flags=(
            RUN_WORKDIR,
            Flag("rows", "print a line for each label below the table", default=False),
        ),
    ),
    Command(
        "answer", "import a person's labels (CSV) into a run's label store", answer,
        description="A run writes WORKDIR/questions.csv and stops when its store has no label "
        "for an image. Fill the column `label` of that file with class names, import it with this "
        "command, and start the run again.",
        flags=(
            RUN_WORKDIR,
            Flag("labels", "the CSV file, or the JSON export of Label Studio, to import; without "
                 "this flag, WORKDIR/questions.csv", "FILE"),
            Flag("rename", "import nothing, but give a class of the run another name; its labels "
                 "stay", "OLD=NEW"),
        ),
    ),
    Command(
        "data info", "print counts, shapes and duplicates, and write a sheet of samples",
        data_info,
        flags=(
            DATA,
            Flag("sheet", "the file for the sheet of samples; without this flag, "
                 "NAME_samples.png", "FILE.png"),
            *IMAGE_FLAGS,
        ),
    ),
    Command(
        "data explore", "write a page of samples, maps, clusters and their scores", data_explore,
        flags=(
            DATA,
            Flag("out", "the directory for explore.html", "DIR", "explore"),
            Flag("labels", "also show all training labels: samples by class, accuracy and "
                 "homogeneity over k, confusion. For research: no run has bought these labels",
                 default=False),
            Flag("seed", "the seed of the samples and of k-means", "N", 0),
            *IMAGE_FLAGS,
        ),
    ),
    Command(
        "data prepare", "make a data set ready for tfds:NAME, without TensorFlow", data_prepare,
        flags=(
            Flag("name", "mnist, fashion_mnist or cifar10", "NAME",
                 missing="mnist, fashion_mnist or cifar10"),
            Flag("manual_dir", "the directory of the original files; without this flag, they are "
                 "downloaded", "DIR"),
            Flag("data_dir", "the directory to write to; without this flag, "
                 "~/tensorflow_datasets", "DIR"),
        ),
    ),
)  # fmt: skip
